"""The climate zones: Koeppen-Geiger classes by number, as Beck et al. (2018) count them."""

from __future__ import annotations

_NAMES = (
    "Af Am Aw BWh BWk BSh BSk Csa Csb Csc Cwa Cwb Cwc Cfa Cfb Cfc Dsa Dsb Dsc Dsd Dwa Dwb Dwc Dwd Dfa Dfb Dfc Dfd ET EF"
)

KOEPPEN_CLASSES: dict[int, str] = dict(enumerate(_NAMES.split(), start=1))
"""Number of a Koeppen-Geiger class -> its letters, 1 Af .. 30 EF.

Beck, H. E. et al. (2018), Present and future Koeppen-Geiger climate classification maps at 1-km resolution,
Scientific Data 5:180214, doi:10.1038/sdata.2018.214, Table 2.
"""

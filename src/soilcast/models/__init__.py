"""Networks: a trunk and a head each, the predictive distributions, and the baselines that any of them must beat."""

from soilcast.models.design import NetworkDesign
from soilcast.models.heads import HEADS, ClosingHead, Head, StoreHead
from soilcast.models.network import NETWORKS, Network

__all__ = ["HEADS", "NETWORKS", "ClosingHead", "Head", "Network", "NetworkDesign", "StoreHead"]

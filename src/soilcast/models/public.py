"""What other rooms take from this one as `soilcast.models`."""

from soilcast.models.design import HEADS, NETWORKS, NetworkDesign, needs_of
from soilcast.models.heads import ClosingHead, Head, StoreHead
from soilcast.models.network import Network

__all__ = ["HEADS", "NETWORKS", "ClosingHead", "Head", "Network", "NetworkDesign", "StoreHead", "needs_of"]

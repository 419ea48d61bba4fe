"""How many requests came and how long they took, and what is served, as Prometheus reads it."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict

from soilcast.memory import held_memory
from soilcast.serving.service import Service

_BOUNDS = (0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Counts:
    """Counts requests by kind of address and status."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._slower: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_BOUNDS) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, kind: str, status: int, seconds: float) -> None:
        """Count a request."""
        with self._lock:
            self._requests[kind, status] += 1
            self._seconds[kind] += seconds
            row = self._slower[kind]
            for at, bound in enumerate(_BOUNDS):
                row[at] += seconds <= bound
            row[-1] += 1

    def text(self, service: Service) -> str:
        """Give all counts in the text format of Prometheus."""
        snapshot, cache = service.catalogue.now(), service.cache
        lines = ["# TYPE soilcast_requests_total counter"]
        with self._lock:
            for (kind, status), count in sorted(self._requests.items()):
                lines.append(f'soilcast_requests_total{{path="{kind}",status="{status}"}} {count}')
            lines.append("# TYPE soilcast_request_seconds histogram")
            for kind, row in sorted(self._slower.items()):
                bounds = (*(f"{bound:g}" for bound in _BOUNDS), "+Inf")
                for bound, count in zip(bounds, row, strict=True):
                    lines.append(f'soilcast_request_seconds_bucket{{path="{kind}",le="{bound}"}} {count}')
                lines.append(f'soilcast_request_seconds_sum{{path="{kind}"}} {self._seconds[kind]:.6f}')
                lines.append(f'soilcast_request_seconds_count{{path="{kind}"}} {row[-1]}')
        gauges = {
            "collections": len(snapshot.collections),
            "issue_days": sum(len(one.instances) for one in snapshot.collections.values()),
            "broken_files": len(snapshot.broken),
            "cache_bytes": cache.held,
            "memory_bytes": held_memory(),
        }
        for name, value in gauges.items():
            lines += [f"# TYPE soilcast_{name} gauge", f"soilcast_{name} {value}"]
        for name, value in {"cache_hits": cache.hits, "cache_misses": cache.misses}.items():
            lines += [f"# TYPE soilcast_{name}_total counter", f"soilcast_{name}_total {value}"]
        return "\n".join(lines) + "\n"


def health(service: Service) -> dict[str, object]:
    """Say in short what is served."""
    snapshot = service.catalogue.now()
    issues = [issue for one in snapshot.collections.values() for issue in one.instances]
    return {
        "status": "ok" if issues else "empty",
        "collections": len(snapshot.collections),
        "issues": len(issues),
        "newest_issue": max(issues, default=None),
        "broken": len(snapshot.broken),
    }

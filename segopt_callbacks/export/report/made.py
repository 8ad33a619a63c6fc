"""When and by what an export was made."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from typing import Any

from segopt_callbacks.export.delivery import versions
from segopt_callbacks.processes import cpus
from segopt_callbacks.records import Made


def made(training: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> Made:
    """The part of a report that says so.

    Args:
        training: of the fit; empty outside of one.
        told: format -> what its file tells, with the `versions` of the packages that made it.
    """
    packages = {name: version for one in told.values() for name, version in one["versions"].items()}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {**versions(["segopt-callbacks"]), "python": platform.python_version(), **packages},
        "machine": {
            "cpu": cpus.model_name(),
            "cpus": len(cpus.available()),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "training": dict(training),
    }

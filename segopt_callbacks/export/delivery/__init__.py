"""Files in their final place, all together or not at all."""

from segopt_callbacks.export.delivery import rescue
from segopt_callbacks.export.delivery.files import publish, require_replaceable
from segopt_callbacks.export.delivery.metadata import embed, read_metadata, validate_metadata, versions
from segopt_callbacks.export.delivery.sidecars import sidecar_name, write_sidecars
from segopt_callbacks.export.delivery.workspace import (
    disk_errors_explained,
    require_writable,
    warn_if_shared,
    workspace,
)

__all__ = [
    "disk_errors_explained",
    "embed",
    "publish",
    "read_metadata",
    "require_replaceable",
    "require_writable",
    "rescue",
    "sidecar_name",
    "validate_metadata",
    "versions",
    "warn_if_shared",
    "workspace",
    "write_sidecars",
]

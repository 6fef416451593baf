"""Evidence: what was measured, the keys it is remembered by, the database it is kept in, the locks around it."""

from gonogo.harness.evidence.connection import StoreError
from gonogo.harness.evidence.keys import (
    KEY_VERSION,
    content_key,
    file_digest,
    has_dynamic_import,
    remembered_digest,
    source_closure,
    source_digest,
    tree_digest,
)
from gonogo.harness.evidence.locks import LockError, device_lock_path, exclusive, shared
from gonogo.harness.evidence.measurement import EvidenceError, Measurement
from gonogo.harness.evidence.plain import Json
from gonogo.harness.evidence.store import Store

__all__ = [
    "KEY_VERSION",
    "EvidenceError",
    "Json",
    "LockError",
    "Measurement",
    "Store",
    "StoreError",
    "content_key",
    "device_lock_path",
    "exclusive",
    "file_digest",
    "has_dynamic_import",
    "remembered_digest",
    "shared",
    "source_closure",
    "source_digest",
    "tree_digest",
]

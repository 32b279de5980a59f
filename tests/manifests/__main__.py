"""``python -m tests.manifests`` writes what of the manifests is derived from the code."""

from __future__ import annotations

from .derived import files

for path, content in files().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

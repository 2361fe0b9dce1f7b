"""Unfinished multipart uploads: space on an S3 store that no listing shows. Listed, and aborted."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prag_core.storage.objects import FileSystem


@dataclass(frozen=True)
class Upload:
    """A multipart upload that was begun and neither completed nor aborted."""

    path: str
    upload_id: str
    started: datetime


def list_uploads(fs: FileSystem, root: str) -> list[Upload]:
    """List unfinished uploads under `root`. Only S3 stores have any."""
    if "s3" not in fs.protocol:
        return []
    bucket, key, _ = fs.split_path(root)
    uploads: list[Upload] = []
    markers: dict[str, Any] = {}
    while True:
        page = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{key}/", **markers)
        uploads += [
            Upload(f"{bucket}/{fields['Key']}", fields["UploadId"], fields["Initiated"])
            for fields in page.get("Uploads", [])
        ]
        if not (page.get("IsTruncated") and page.get("NextKeyMarker")):
            return uploads
        markers = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextUploadIdMarker"):
            markers["UploadIdMarker"] = page["NextUploadIdMarker"]


def abort_upload(fs: FileSystem, upload: Upload) -> None:
    """Abort an unfinished upload. A missing one is no error."""
    bucket, key = upload.path.split("/", 1)
    with contextlib.suppress(FileNotFoundError):
        fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload.upload_id)

"""moto's server under boto3: ``moto_app.py plain|faster``; prints what S3 has answered."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import boto3  # type: ignore[import-not-found]
from moto.server import ThreadedMotoServer  # type: ignore[import-not-found]

from wsgiref_fast import werkzeug as ours


def main(kind: str) -> None:
    """Use S3 as programs do."""
    if kind == "faster":
        ours.install()
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    assert issubclass(server._server.RequestHandlerClass, ours._Sending) == (kind == "faster")
    secrets = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    url = f"http://{host}:{port}"
    s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=url, **secrets)
    print(json.dumps(use(s3), default=str, sort_keys=True, indent=1))
    server.stop()


def use(s3: Any) -> list[Any]:
    """Return the answers, but for what differs each time."""
    answers = [s3.create_bucket(Bucket="shop")]
    for key in ("a b", "grün/é", "x+y=z&w", "a//b"):
        answers.append(s3.put_object(Bucket="shop", Key=key, Body=key.encode() * 1000))
        answers.append(s3.get_object(Bucket="shop", Key=key)["Body"].read().decode())
    told = {"under_score": "1", "dash-ed": "2"}
    answers.append(s3.put_object(Bucket="shop", Key="told", Body=b"", Metadata=told))
    answers.append(s3.head_object(Bucket="shop", Key="told")["Metadata"])
    large = os.urandom(6 << 20)
    upload = s3.create_multipart_upload(Bucket="shop", Key="large")["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": part["ETag"]}
        for number in (1, 2)
        for part in [
            s3.upload_part(
                Bucket="shop", Key="large", UploadId=upload, PartNumber=number, Body=large
            )
        ]
    ]
    whole = {"Parts": parts}
    s3.complete_multipart_upload(Bucket="shop", Key="large", UploadId=upload, MultipartUpload=whole)
    answers.append(s3.get_object(Bucket="shop", Key="large")["Body"].read() == large * 2)
    answers.append([item["Key"] for item in s3.list_objects_v2(Bucket="shop")["Contents"]])
    answers.append(s3.delete_object(Bucket="shop", Key="told"))
    try:
        s3.get_object(Bucket="shop", Key="told")
    except s3.exceptions.NoSuchKey as error:
        answers.append(error.response["Error"])
    for answer in answers:
        if isinstance(answer, dict) and "ResponseMetadata" in answer:
            metadata = answer["ResponseMetadata"]
            for name in (
                "date",
                "last-modified",
                "x-amzn-requestid",
                "x-amz-request-id",
                "x-amz-id-2",
            ):
                metadata["HTTPHeaders"].pop(name, None)
            metadata.pop("RequestId", None)
            metadata.pop("HostId", None)
    return answers


if __name__ == "__main__":
    main(sys.argv[1])

"""A package put where jobs find it."""

from pathlib import Path

from bootstrap.emr.packing.package import FILES, MANIFEST
from conf import access
from conf.errors import StorageError, UsageError, first_line
from conf.saying import Say, silent


def check(to: str) -> None:
    """Check that a package can be put there, as far as the text tells.

    Raises
    ------
    UsageError
        It is no place on S3.
    """
    if access.scheme_of(to) != "s3":
        raise UsageError(f"--upload {to}: a package lies on S3: say s3://BUCKET/PREFIX")
    access.bucket_of(to)


def upload(folder: Path, to: str, say: Say = silent) -> str:
    """Upload a package's folder below a URI of S3, and return the URI that jobs name: `TO/ID`.

    The manifest comes last. What is there already has the same content, as an id says what it holds, and is left alone.

    Raises
    ------
    UsageError
        `to` is no place on S3, or nobody has said whose credentials to use.
    StorageError
        S3 refuses, or does not answer.
    """
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    check(to)
    bucket = access.bucket_of(to)
    prefix = to.partition("://")[2].partition("/")[2].strip("/")
    home = "/".join(filter(None, (prefix, folder.name)))
    s3 = access.client("s3")
    try:
        if not s3.list_objects_v2(Bucket=bucket, Prefix=f"{home}/{MANIFEST}", MaxKeys=1).get("KeyCount"):
            for name in FILES:
                say(f"uploading {name}")
                s3.upload_file(str(folder / name), bucket, f"{home}/{name}")
    except (ClientError, S3UploadFailedError) as error:
        raise StorageError(f"--upload {to}: {first_line(error)}; the package lies in {folder}") from error
    except BotoCoreError as error:
        raise access.unanswered(to, error) from error
    return f"s3://{bucket}/{home}"

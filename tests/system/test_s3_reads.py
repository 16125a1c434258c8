"""What a read through cashy tells is what the store tells: two real stores, asked directly, cold and warm.

The last part is about who may: SeaweedFS with two identities, whose rights are changed while it runs.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from botocore.exceptions import ClientError

from .harness import KEY, SECRET, DevCluster, DevHost, RunningHost, s3_client, started_store, wait_until
from .weed import AT_STORE, SECRET_AT_STORE, Weed

pytestmark = pytest.mark.system

MIB = 1 << 20
BUCKET = "reads"

#: What an answer says of itself and not of the object.
OF_THE_ANSWER = {
    "accept-ranges", "connection", "date", "server", "x-amz-id-2", "x-amz-request-id", "x-amzn-requestid", "transfer-encoding", "vary",
    "access-control-allow-origin", "access-control-allow-methods", "access-control-expose-headers", "access-control-allow-headers",
    "access-control-max-age", "access-control-allow-credentials", "strict-transport-security",
}  # fmt: skip


#: What a store shows of itself or of the writer's request, which is no header of S3's answer.
_STORES_OWN = re.compile(
    r"seaweed-.*|x-amz-tagging-(?!count$).*|x-amz-(content-sha256|(sdk-)?checksum-algorithm)"
)


@pytest.fixture(scope="module", params=["moto", "weed"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "moto":
        with started_store() as url:
            yield url
    else:
        yield request.getfixturevalue("weed").url


@pytest.fixture(scope="module")
def direct(store: str) -> Iterator[Any]:
    client = s3_client(store)
    client.create_bucket(Bucket=BUCKET)
    client.create_bucket(Bucket="versions")
    client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    yield client
    client.close()


@pytest.fixture(scope="module")
def host(store: str, direct: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevHost]:
    config = "[freshness]\nrevalidate_after_s = 600\n"  # so that what is warm stays so
    with DevHost(tmp_path_factory.mktemp("host"), f"s3={store}", block="64KiB", config=config) as host:
        yield host


@pytest.fixture(scope="module")
def client(host: DevHost) -> Any:
    return host.s3()


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def signed(url: str, method: str, target: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
    """A request that botocore has signed and nothing has prettified; the answer is read."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = botocore.awsrequest.AWSRequest(method, url + target, headers=sent, data=body)
    signer = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(KEY, SECRET), "s3", "us-east-1")
    signer.add_auth(request)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
    try:
        # As they were signed: UTF-8, which http.client would not send of its own.
        as_bytes = {name: value.encode() for name, value in request.headers.items()}
        connection.request(method, target, body or None, as_bytes)
        with connection.getresponse() as answer:
            answer.read()
            return answer
    finally:
        connection.close()


def told(answer: Any) -> dict[str, str]:
    """The headers; the body, if there is one, is read to its end as ``Content``."""
    if "Body" in answer:
        answer.setdefault("Content", answer["Body"].read())
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    told = {name.lower(): value for name, value in headers.items()}
    return {
        name: value
        for name, value in told.items()
        if name not in OF_THE_ANSWER and not _STORES_OWN.fullmatch(name)
    }


def assert_told_alike(direct: Any, client: Any, **asked: Any) -> dict[str, str]:
    """GET and HEAD, twice each: every header of the store's own answer, and no other."""
    for method in ("head_object", "get_object", "head_object", "get_object"):
        expected = getattr(direct, method)(**asked)
        got = getattr(client, method)(**asked)
        assert told(got) == told(expected), method
        assert got.get("Content") == expected.get("Content")
    return told(got)


# ---------------------------------------------------------------- headers

DESCRIBED: dict[str, Any] = {
    "CacheControl": "no-store, max-age=0", "ContentDisposition": 'attachment; filename="a.txt"', "ContentEncoding": "gzip",
    "ContentLanguage": "de, en", "ContentType": "text/plain; charset=utf-8", "Expires": "Wed, 21 Oct 2065 07:28:00 GMT",
    "Metadata": {"owner": "desk 5", "second": "2"},
}  # fmt: skip
_OTHER_DATE = "Thu, 01 Dec 2033 16:00:00 GMT"


def test_all_that_is_stored_is_told(direct: Any, client: Any) -> None:
    direct.put_object(Bucket=BUCKET, Key="described", Body=b"x" * 100, **DESCRIBED)
    got = assert_told_alike(direct, client, Bucket=BUCKET, Key="described")
    assert (got["expires"], got["x-amz-meta-owner"]) == (DESCRIBED["Expires"], "desk 5")
    asked = {
        "Bucket": BUCKET,
        "Key": "described",
        "ResponseContentType": "a/b",
        "ResponseExpires": _OTHER_DATE,
    }
    replaced = told(client.get_object(**asked))
    assert replaced == told(direct.get_object(**asked))
    assert (replaced["content-type"], replaced["expires"]) == ("a/b", _OTHER_DATE)


@pytest.mark.parametrize(
    "more",
    [{"StorageClass": "STANDARD_IA"}, {"Tagging": "a=1&b=2"}, {"ChecksumAlgorithm": "SHA256"}],
    ids=lambda more: next(iter(more)),
)  # fmt: skip
def test_what_the_store_adds_is_told_too(direct: Any, client: Any, more: dict[str, Any]) -> None:
    key = "with-" + next(iter(more))
    direct.put_object(Bucket=BUCKET, Key=key, Body=b"x" * 100, **more)
    assert_told_alike(direct, client, Bucket=BUCKET, Key=key)


def test_user_metadata_beyond_ascii(store: str, direct: Any, host: DevHost) -> None:
    answer = signed(store, "PUT", f"/{BUCKET}/unicode", b"x", x_amz_meta_owner="Jörg 日本")
    assert answer.status == 200
    expected = signed(store, "HEAD", f"/{BUCKET}/unicode").headers["x-amz-meta-owner"]
    for method in ("GET", "HEAD"):
        for _ in range(2):
            assert signed(host.url, method, f"/{BUCKET}/unicode").headers["x-amz-meta-owner"] == expected


def test_a_part_and_a_condition_leave_nothing_out(direct: Any, client: Any) -> None:
    direct.put_object(Bucket=BUCKET, Key="parted", Body=bytes(200_000), **DESCRIBED)
    for _ in range(2):
        expected = direct.get_object(Bucket=BUCKET, Key="parted", Range="bytes=65530-65545")
        got = client.get_object(Bucket=BUCKET, Key="parted", Range="bytes=65530-65545")
        assert told(got) == told(expected)
        etag = got["ETag"]
        status, _ = refusal(
            client.get_object, Bucket=BUCKET, Key="parted", IfNoneMatch=etag, Range="bytes=999999-"
        )
        assert status == 304
        assert refusal(client.get_object, Bucket=BUCKET, Key="parted", IfMatch='"x"', Range="bytes=999999-") == (
            412, "PreconditionFailed",
        )  # fmt: skip


# ---------------------------------------------------------------- checksums


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
@pytest.mark.parametrize("first", ["get_object", "head_object", "plain"])
def test_checksums_that_sdks_verify(direct: Any, client: Any, algorithm: str, first: str) -> None:
    """boto3 asks for them with every read, and compares."""
    key = f"sum-{algorithm}-{first}"
    direct.put_object(Bucket=BUCKET, Key=key, Body=b"hello" * 50_000, ChecksumAlgorithm=algorithm)
    asked = {"Bucket": BUCKET, "Key": key, "ChecksumMode": "ENABLED"}
    if first == "plain":  # what comes with a first block has none
        client.get_object(Bucket=BUCKET, Key=key, Range="bytes=0-9")["Body"].read()
    else:
        told(getattr(client, first)(**asked))
    expected = direct.head_object(**asked)[f"Checksum{algorithm}"]
    for _ in range(2):
        answer = client.get_object(**asked)
        assert answer[f"Checksum{algorithm}"] == expected
        assert answer["Body"].read() == b"hello" * 50_000
        assert client.head_object(**asked)[f"Checksum{algorithm}"] == expected
        part = told(client.get_object(**asked, Range="bytes=0-9"))
        assert f"x-amz-checksum-{algorithm.lower()}" not in part


def upload_in_parts(direct: Any, key: str, parts: list[bytes], **more: Any) -> None:
    what = {"Bucket": BUCKET, "Key": key}
    upload = direct.create_multipart_upload(**what, **more)["UploadId"]
    done = []
    for number, data in enumerate(parts, 1):
        answer = direct.upload_part(**what, UploadId=upload, PartNumber=number, Body=data, **more)
        about = {
            name: value for name, value in answer.items() if name == "ETag" or name.startswith("Checksum")
        }
        done.append({"PartNumber": number, **about})
    direct.complete_multipart_upload(**what, UploadId=upload, MultipartUpload={"Parts": done})


def test_an_object_of_parts(direct: Any, client: Any) -> None:
    """Its ETag and checksum are of the parts ("…-2"); partNumber is the store's to answer."""
    upload_in_parts(direct, "in-parts", [b"a" * 5 * MIB, b"end"], ChecksumAlgorithm="SHA256")
    asked = {"Bucket": BUCKET, "Key": "in-parts", "ChecksumMode": "ENABLED"}
    if told(direct.head_object(**asked)) == told(direct.get_object(**asked)):
        got = assert_told_alike(direct, client, **asked)
    else:  # moto's HEAD gives the parts' checksum as if it were the object's: nobody may take it for that
        for method in (client.head_object, client.get_object) * 2:
            answer = method(**asked)
            got = told(answer)
            assert "x-amz-checksum-sha256" not in got
            assert answer.get("Content", b"a" * 5 * MIB + b"end") == b"a" * 5 * MIB + b"end"
    assert got["etag"].endswith('-2"')
    for number in (1, 2):
        expected = direct.get_object(Bucket=BUCKET, Key="in-parts", PartNumber=number)
        answer = client.get_object(Bucket=BUCKET, Key="in-parts", PartNumber=number)
        assert told(answer) == told(expected)
        assert answer["Content"] == expected["Content"]


# ---------------------------------------------------------------- versions, customers' keys


def test_versions_and_delete_markers(direct: Any, client: Any) -> None:
    first = direct.put_object(Bucket="versions", Key="k", Body=b"first")["VersionId"]
    second = client.put_object(Bucket="versions", Key="k", Body=b"second")["VersionId"]
    current = {"Bucket": "versions", "Key": "k"}
    for _ in range(2):
        answer = client.get_object(**current)
        assert (answer["Body"].read(), answer["VersionId"]) == (b"second", second)
        assert client.head_object(**current)["VersionId"] == second
        old = client.get_object(**current, VersionId=first)
        assert (old["Body"].read(), old["VersionId"]) == (b"first", first)
    marker = client.delete_object(**current)["VersionId"]
    assert (
        refusal(client.get_object, **current) == refusal(direct.get_object, **current) == (404, "NoSuchKey")
    )
    assert refusal(client.head_object, **current)[0] == 404
    expected = refusal(direct.get_object, **current, VersionId=marker)
    assert refusal(client.get_object, **current, VersionId=marker) == expected
    assert client.get_object(**current, VersionId=second)["Body"].read() == b"second"
    client.delete_object(**current, VersionId=marker)
    assert client.get_object(**current)["Body"].read() == b"second"


def test_a_customers_own_key(direct: Any, client: Any) -> None:
    what = {"Bucket": BUCKET, "Key": "encrypted"}
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    direct.meta.events.register("before-send.s3", _allow_plain_http)
    direct.put_object(**what, Body=b"secret", **key)
    for _ in range(2):
        assert client.get_object(**what, **key)["Body"].read() == b"secret"
        assert client.head_object(**what, **key)["ContentLength"] == 6
    try:
        direct.get_object(**what)
    except ClientError as error:
        expected = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
        for _ in range(2):
            assert refusal(client.get_object, **what) == expected
            assert refusal(client.get_object, **what, Range="bytes=0-1") == expected


def _allow_plain_http(**_: Any) -> None:
    """Nothing: botocore only refuses customers' keys over http where a handler of its own says so."""


# ---------------------------------------------------------------- who may

OTHER_KEY, OTHER_SECRET = "AKIDOTHER", "other-secret"
_MORE_KEYS = f'[key.{OTHER_KEY}]\nsecret = "{OTHER_SECRET}"\nrights = "read"\nstore_key = "{AT_STORE}"\nstore_secret = "{SECRET_AT_STORE}"\n'


@pytest.fixture(scope="module")
def identities(weed: Weed) -> Weed:
    admin = s3_client(weed.url)
    for bucket in ("mine", "theirs"):
        admin.create_bucket(Bucket=bucket)
        admin.put_object(Bucket=bucket, Key="hot", Body=b"hot " + bucket.encode())
    admin.close()
    return weed


def rights_cluster(folder: Path, url: str, more: str = "") -> DevCluster:
    config = f"[s3]\nrights_valid_s = 1\n{more}\n[freshness]\nrevalidate_after_s = 600\n"
    folder.mkdir()
    return DevCluster(1, folder, f"s3={url}", config=config, more_keys=_MORE_KEYS)


def body(client: Any, bucket: str, key: str = "hot", **more: Any) -> bytes:
    return bytes(client.get_object(Bucket=bucket, Key=key, **more)["Body"].read())


def _may(client: Any, bucket: str) -> bool:
    try:
        client.head_object(Bucket=bucket, Key="hot")
    except ClientError:
        return False
    return True


def test_rights_at_the_store_hold_for_what_is_cached(identities: Weed, tmp_path: Path) -> None:
    there = s3_client(identities.url, key=AT_STORE, secret=SECRET_AT_STORE)
    identities.allow("Read:mine", "List:mine")
    wait_until(lambda: _may(there, "mine"), what="the right at the store")
    with rights_cluster(tmp_path / "host", identities.url) as cluster:
        host: RunningHost = cluster.hosts[0]
        all_may, other = host.s3(), host.s3(key=OTHER_KEY, secret=OTHER_SECRET)
        for _ in range(3):
            assert body(all_may, "theirs") == b"hot theirs"
            assert body(other, "mine") == b"hot mine"
            assert body(all_may, "mine") == b"hot mine"
            assert refusal(other.get_object, Bucket="theirs", Key="hot") == (403, "AccessDenied")
            assert refusal(other.get_object, Bucket="theirs", Key="hot", Range="bytes=0-0") == (
                403,
                "AccessDenied",
            )
            assert refusal(other.get_object, Bucket="theirs", Key="hot", IfNoneMatch="*") == (
                403,
                "AccessDenied",
            )
            assert refusal(other.head_object, Bucket="theirs", Key="hot")[0] == 403
            assert refusal(other.get_object, Bucket="theirs", Key="absent") == (403, "AccessDenied")
        assert refusal(other.get_object, Bucket="mine", Key="absent") == (404, "NoSuchKey")

        identities.allow("Read:theirs", "List:theirs")  # the other way round
        wait_until(lambda: _may(there, "theirs") and not _may(there, "mine"), what="the change at the store")
        time.sleep(1.1)  # rights_valid_s
        assert refusal(other.get_object, Bucket="mine", Key="hot") == (403, "AccessDenied")
        wait_until(lambda: _may(other, "theirs"), what="the end of the remembered refusal")
        assert body(other, "theirs") == b"hot theirs"
        assert body(all_may, "mine") == b"hot mine"
    there.close()


def test_a_write_of_ones_own_grants_no_reading(identities: Weed, tmp_path: Path) -> None:
    there = s3_client(identities.url, key=AT_STORE, secret=SECRET_AT_STORE)
    identities.allow("Write:mine")
    wait_until(lambda: not _may(there, "mine") and not _may(there, "theirs"), what="the change at the store")
    more = _MORE_KEYS.replace('rights = "read"', 'rights = "read-write"')
    folder = tmp_path / "host"
    folder.mkdir()
    with DevCluster(1, folder, f"s3={identities.url}", more_keys=more) as cluster:
        other = cluster.hosts[0].s3(key=OTHER_KEY, secret=OTHER_SECRET)
        other.put_object(Bucket="mine", Key="written", Body=b"x")
        assert body(cluster.hosts[0].s3(), "mine", "written") == b"x"
        assert refusal(other.get_object, Bucket="mine", Key="written") == (403, "AccessDenied")
    there.close()


def test_the_key_table_alone_decides_where_it_is_told_to(identities: Weed, tmp_path: Path) -> None:
    identities.allow("Write:mine")
    with rights_cluster(tmp_path / "host", identities.url, 'rights = "here"') as cluster:
        other = cluster.hosts[0].s3(key=OTHER_KEY, secret=OTHER_SECRET)
        for _ in range(2):
            assert body(other, "theirs") == b"hot theirs"

"""Does with boto3 what s3-asset-manager does: the same calls in the same order, the same files, the same lines.

Written from its documented behaviour, as what tests and benchmarks put beside the program.
"""

import base64
import glob
import hashlib
import logging
import os
import pathlib
import subprocess
import sys

import boto3

logging.basicConfig(format="%(message)s", level=logging.INFO)
log = logging.getLogger()
for noisy in ("boto3", "botocore", "s3transfer", "urllib3"):
    logging.getLogger(noisy).setLevel(logging.WARNING)


def die(code, text):
    log.critical(text)
    sys.exit(code)


def variable(name, code):
    value = os.environ.get(name)
    if value is None:
        die(code, f"Missing environment variable: {name}")
    return value


def client():
    log.info("Getting S3 client using credentials in environment variables")
    return boto3.client("s3")


def digest(hasher, path):
    with open(path, "rb") as file:
        while chunk := file.read(1024):
            hasher.update(chunk)


def check():
    bucket = variable("PACKAGE_ASSETS_BUCKET", 100)
    repository = variable("GIT_REPO_PATH", 101)
    packages = pathlib.Path(variable("PACKAGE_DIRECTORY", 102))
    head = ["git", "-C", repository, "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    log.info("Commit hash: %s", commit)
    (packages / ".commit-hash").write_text(commit)
    s3 = client()
    artifacts = f"artifacts/{commit}"
    log.info("Checking for artifacts at s3://%s/%s", bucket, artifacts)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=artifacts)
    if listed["KeyCount"] > 0:
        (packages / ".found").touch()
        log.info("%d artifact(s) found; no build necessary", listed["KeyCount"])
        return
    patterns = os.environ.get("CODE_HASH_FIND_FILTER")
    if patterns is None:
        log.info("No packages found and no cache find filter set; new packages will need to be built")
        return
    log.info("Artifact prefix not found; checking the cache")
    hasher = hashlib.md5()
    for pattern in patterns.split(" "):
        for path in sorted(glob.glob(f"{repository}/{pattern}", recursive=True)):
            if os.path.isfile(path):
                digest(hasher, path)
    code = hasher.hexdigest()
    log.info("Code hash: %s", code)
    (packages / ".code-hash").write_text(code)
    cache = f"cache/{code}/"
    log.info("Checking for cached packages at s3://%s/%s", bucket, cache)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=cache)
    if listed["KeyCount"] == 0:
        log.info("No package found; a new one will need to be built")
        return
    log.info("%d cached artifact(s) found", listed["KeyCount"])
    for found in listed["Contents"]:
        key = found["Key"]
        target = f"{artifacts}/{key.split('/')[-1]}"
        log.info("Copying %s to %s", key, target)
        metadata = s3.head_object(Bucket=bucket, Key=key)["Metadata"]
        source = {"Bucket": bucket, "Key": key}
        s3.copy_object(CopySource=source, Bucket=bucket, Key=target, Metadata=metadata)
    (packages / ".found").touch()
    log.info("Artifact(s) copied from the cache; no build necessary")


def upload():
    packages = pathlib.Path(variable("PACKAGE_DIRECTORY", 100))
    if (packages / ".found").is_file():
        log.info("The artifact(s) for this commit already exist; skipping this step")
        return
    bucket = variable("PACKAGE_ASSETS_BUCKET", 101)
    files = [path for path in map(pathlib.Path, glob.glob(f"{packages}/*")) if path.is_file()]
    if not files:
        die(102, f"No non-hidden files found in {packages}")
    if not (packages / ".commit-hash").is_file():
        die(103, f"Commit Hash not found at {packages}/commit-hash")
    commit = (packages / ".commit-hash").read_text()
    log.info("Commit hash: %s", commit)
    code = None
    if (packages / ".code-hash").is_file():
        code = (packages / ".code-hash").read_text()
        log.info("Code hash: %s", code)
    s3 = client()
    for path in files:
        hasher = hashlib.sha256()
        digest(hasher, path)
        package = base64.b64encode(hasher.digest()).decode()
        log.info("Package hash for %s: %s", path.name, package)
        metadata = {"commit-hash": commit, "package-hash": package}
        if code is not None:
            metadata["code-hash"] = code
        key = f"artifacts/{commit}/{path.name}"
        log.info("Uploading to s3://%s/%s", bucket, key)
        s3.upload_file(Filename=str(path), Bucket=bucket, Key=key, ExtraArgs={"Metadata": metadata})
        if code is not None:
            target = f"cache/{code}/{path.name}"
            log.info("Copying to s3://%s/%s", bucket, target)
            source = {"Bucket": bucket, "Key": key}
            s3.copy_object(CopySource=source, Bucket=bucket, Key=target, Metadata=metadata)
    log.info("%s package(s) uploaded", len(files))


{"check": check, "upload": upload}[sys.argv[1]]()

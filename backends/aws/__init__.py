"""State in S3 buckets, Amazon's and compatible ones, and locks in DynamoDB tables.

Terms: a *flavour* is the scheme of a provider of S3 (`do`, `scw`, ...) that takes its endpoint and
keys from `S3_*` variables. The *native* lock is an object beside the state (`KEY.tflock`), the
*dynamodb* lock a row of a table; both have Terraform's form. An *account* (`session.Aws`) makes the
clients, one for each service, region and endpoint.

Invariants:

- botocore tries each call once: the SDK's own retries are off.
- The version of an object is its ETag, kept and sent without quotes.
- `errors` maps every refusal of a server: denied, certainly without effect, or unknown.
- Opening a place sends no request and reads no credentials.

An example:

    place = s3.open_backend({"bucket": "b", "key": "k"}, base_dir, os.environ)
"""

"""State in S3 buckets, Amazon's and compatible ones, and locks in DynamoDB tables.

Terms:

- An *account* (`session.AwsAccount`) holds the credentials and makes the botocore clients: one for
  each service, region and endpoint.
- A *flavour* is the URL scheme of another S3 provider (`do`, `scw`, `hos`, `linode`). With a
  flavour, the endpoint, the region and the keys come from `S3_*` variables.
- The *native* lock is an object next to the state file (`KEY.tflock`). The *dynamodb* lock is a row
  of a DynamoDB table. Both have Terraform's format, so that dtm and Terraform see each other's
  locks.

Invariants:

- botocore sends each request once: the SDK's own retries are off.
- The version of an object is its ETag, stored and sent without quotes.
- `errors` maps every refusal of a server to one of four kinds: access denied, certainly without
  effect, outcome unknown, or any other refusal.
- Opening a place sends no request and reads no credentials.

An example:

    place = s3.open_backend({"bucket": "b", "key": "k"}, base_dir, os.environ)
    place.store.read(place.key)  # the first request
"""

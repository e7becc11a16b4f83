"""State in S3 buckets, Amazon's and compatible ones, and locks in DynamoDB tables.

Invariants: every call is one try, the SDK's own retries are off. An ETag is sent unquoted. Every
refusal of the server is mapped in `errors`: denied, surely without effect, or unknown.

    place = s3.open_backend({"bucket": "b", "key": "k"}, base_dir, os.environ)
"""

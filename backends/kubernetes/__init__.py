"""State in ConfigMaps of one namespace, compared and swapped by their resourceVersion.

Terms: a value too large for one ConfigMap is kept in *parts*, behind an *index*, the ConfigMap of
the key. A *generation* is the random name that the parts of one write share.

Invariants:

- Each request is sent once; urllib3's retries are off.
- Parts are created before the index is swapped, and never changed.
- The namespace is created only after a 404 that names it.
- dtm lists and sweeps only ConfigMaps with its labels. It reads one without them (a state of
  DevStream's) under the name of a key, and labels it with the first write.
- The client is loaded without its models (`client`).

An example:

    place = store.open_backend({"namespace": "n", "configmap": "c"}, base_dir, os.environ)
"""

"""State in ConfigMaps of one namespace. The version of a value is its resourceVersion.

Terms:

- *Parts* are ConfigMaps that hold one value which is too large for a single ConfigMap.
- The *index* is the ConfigMap of the key. It names the parts.
- A *generation* is the random name that the parts of one write share.

Invariants:

- Each request is sent once: urllib3's retries are off.
- Parts are created before the index is replaced, and are never changed.
- dtm creates the namespace only after a 404 response that names it.
- dtm lists and deletes only ConfigMaps with its own labels. It reads a ConfigMap without them under
  the name of a key, such as a state of DevStream, and adds the labels with the first write.
- The Kubernetes client is loaded without its models, which take most of its import time (`client`).

An example:

    place = store.open_backend({"namespace": "n", "configmap": "c"}, base_dir, os.environ)
    place.store.read(place.key)  # the first request
"""

"""State in ConfigMaps of one namespace, compared and swapped by their resourceVersion.

Terms: a large value is kept in *parts*, ConfigMaps behind an index that flips last.

Invariants: the namespace is made only on the 404 that says so. ConfigMaps that dtm did not make are
neither listed nor changed, except a state of DevStream's, which is read and kept.

    place = store.open_backend({"namespace": "n", "configmap": "c"}, base_dir, os.environ)
"""

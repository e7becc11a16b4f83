"""A planted bug: every failed call is retried, even if the provider does not allow it."""

import engine.runtime.retry


def _anything(error: BaseException) -> bool:
    return True


engine.runtime.retry._is_retryable = _anything

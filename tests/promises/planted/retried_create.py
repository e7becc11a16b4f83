"""A planted bug: every failed call is made again, whether the provider said that it may be or not."""

import engine.runtime.retry


def _anything(error: BaseException) -> bool:
    return True


engine.runtime.retry._is_retryable = _anything

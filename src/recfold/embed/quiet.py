"""Silence while a library is loaded that warns and logs about parts of it that are not used."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, nothing warns or logs, and a library finds a handler: it does not install one of its own."""
    logger = logging.getLogger()
    handler, level = logging.NullHandler(), logger.manager.disable
    logger.addHandler(handler)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        logger.removeHandler(handler)

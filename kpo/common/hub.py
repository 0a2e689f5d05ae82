"""Whether the model hub can be asked, found out at once: its client tries for half a minute."""

from __future__ import annotations

PATIENCE_S = 5.0


def hub_answers() -> bool:
    """Whether the hub, or what HF_ENDPOINT and proxies put in its place, answers a request."""
    from huggingface_hub import constants, get_session  # noqa: PLC0415 - slow to import

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE_S)
    except Exception:  # whatever it is, it stands in the way
        return False
    return True

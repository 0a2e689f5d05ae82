"""stub"""

fetch_gguf = load_gguf = None  # type: ignore

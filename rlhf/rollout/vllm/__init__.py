"""vLLM as the engine that samples, as a server or in process. Every update is delivered to it (docs/vllm.md)."""

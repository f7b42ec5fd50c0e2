"""Whether a registered model is a prompt, read from the one tag that says so.

MLflow asks after each tag and each alias that is set, as other webhooks are told of prompts than of models. It reads
the whole model with its versions for that, which takes the server twice as long as the change itself.
"""

from __future__ import annotations

from typing import Any

from mlflow.prompt.constants import IS_PROMPT_TAG_KEY


def read_one_tag(handlers: Any) -> None:
    """Have MLflow's handlers ask so. MLflow 3.17's names are private: where a store has others, MLflow reads on."""
    store = handlers._get_model_registry_store()  # noqa: SLF001 -- a test pins it
    if not hasattr(store, "_get_registered_model_tag"):
        return

    def is_prompt(name: str) -> bool:
        with store.ManagedSessionMaker() as session:
            tag = store._get_registered_model_tag(session, name, IS_PROMPT_TAG_KEY)  # noqa: SLF001 -- as above
            return tag is not None and str(tag.value).lower() == "true"

    handlers._is_prompt = is_prompt  # noqa: SLF001 -- as above

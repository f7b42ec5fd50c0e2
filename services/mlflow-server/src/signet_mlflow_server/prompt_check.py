"""How MLflow's server finds out whether a registered model is a prompt: from the one tag that says so.

The server asks this each time a tag or an alias is set, because prompts and models have different webhooks. MLflow by
itself reads the whole model with all its versions then, which takes twice as long as the change.
"""

from __future__ import annotations

from typing import Any

from mlflow.prompt.constants import IS_PROMPT_TAG_KEY


def read_one_tag(handlers: Any) -> None:
    """Make MLflow's handlers read only that tag. A store without MLflow 3.17's private names is left as it is."""
    store = handlers._get_model_registry_store()  # noqa: SLF001 -- a test pins it
    if not hasattr(store, "_get_registered_model_tag"):
        return

    def is_prompt(name: str) -> bool:
        with store.ManagedSessionMaker() as session:
            tag = store._get_registered_model_tag(session, name, IS_PROMPT_TAG_KEY)  # noqa: SLF001 -- as above
            return tag is not None and str(tag.value).lower() == "true"

    handlers._is_prompt = is_prompt  # noqa: SLF001 -- as above

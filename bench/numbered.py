"""What `first` takes from `testing`, until it does so itself."""

from testing.numbered import NumberedModel
from testing.polling import until as wait
from testing.repository import ALIAS

__all__ = ["ALIAS", "NumberedModel", "wait"]

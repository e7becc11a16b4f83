from typing import Final

from engine.address import Address as Address
from engine.errors import AuthError as AuthError
from engine.errors import DtmError as DtmError
from engine.errors import NotFoundError as NotFoundError
from engine.errors import OutcomeUnknownError as OutcomeUnknownError
from engine.errors import PluginError as PluginError
from engine.errors import ProviderError as ProviderError
from engine.ports import BY_ADDRESS as BY_ADDRESS
from engine.ports import Call as Call
from engine.ports import Provider as Provider
from engine.schema import Field as Field
from engine.schema import Options as Options
from engine.schema import Outputs as Outputs
from engine.state import Resource as Resource
from engine.values import UNKNOWN as UNKNOWN
from engine.values import Attributes as Attributes
from engine.values import Unknown as Unknown
from engine.values import UnknownValueError as UnknownValueError
from engine.values import Value as Value

__version__: Final[str]
PUBLIC: Final[dict[str, tuple[str, ...]]]

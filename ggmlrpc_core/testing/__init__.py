"""What plugin authors and our own tests need: devices without hardware, op cases, the contract check.

NullDevice       allocates, computes nothing
ReferenceDevice  every op by the reference functions, slowly
ChaosDevice      another device that fails, blocks and declines on demand
check_device     the whole contract against any device
EnginePair       a client and a server engine back to back
"""

from ggmlrpc_core.testing.cases import Case, all_cases, nmse
from ggmlrpc_core.testing.chaos import ChaosDevice
from ggmlrpc_core.testing.check_device import DeviceCheckFailed, DeviceReport, check_device
from ggmlrpc_core.testing.null import NullDevice
from ggmlrpc_core.testing.pair import EnginePair
from ggmlrpc_core.testing.reference import ReferenceDevice
from ggmlrpc_core.testing.run_case import CaseFailed, run_case
from ggmlrpc_core.testing.run_remote import run_remote_case

__all__ = [
    "Case",
    "CaseFailed",
    "ChaosDevice",
    "DeviceCheckFailed",
    "DeviceReport",
    "EnginePair",
    "NullDevice",
    "ReferenceDevice",
    "all_cases",
    "check_device",
    "nmse",
    "run_case",
    "run_remote_case",
]

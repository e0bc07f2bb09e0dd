"""FNV-1a, 64 bit: the hash that names uploads in SET_TENSOR_HASH and files in the hash cache.

The definition is one step per byte, `h = (h ^ byte) * PRIME mod 2**64`, which Python does at a few
MB/s. Here a block of bytes is done with array passes, exactly:

- `h ^ byte` changes only the low byte of h, so with l = h mod 256 one step is
  `h = (h + (l ^ byte) - l) * PRIME`. Over n bytes that is
  `h * PRIME**n + sum(d[i] * PRIME**(n - i))` with d[i] = (l[i] ^ byte[i]) - l[i].
- The low bytes l follow `l = (l ^ byte) * 0xB3 mod 256`. Because 0xB3 is odd, bit k of the next l
  is bit k of (l ^ byte) xor a function of its lower bits: once the lower bits of all l are known,
  bit k of all l is one running xor. Eight rounds give all of them.

Knows nothing of files and tensors.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

OFFSET_BASIS = 0xCBF29CE484222325
PRIME = 0x100000001B3

_MASK = (1 << 64) - 1
_BLOCK = 1 << 16
"""Bytes per round of array passes: its working set stays in a second-level cache."""
_SMALL = 256
"""Below this many bytes the plain loop is quicker."""
_EVERY_BYTE = np.uint64(0x0101010101010101)


def fnv1a_64(data: bytes | bytearray | memoryview | np.ndarray, state: int = OFFSET_BASIS) -> int:
    """Hash bytes.

    Args:
        data: any contiguous buffer.
        state: the hash of what came before, to go on from.

    Returns:
        The hash, 0 <= h < 2**64.
    """
    octets = np.frombuffer(data, np.uint8)
    done = 0
    while octets.size - done >= _SMALL:
        n = min(_BLOCK, (octets.size - done) & ~7)
        state = _block(octets[done : done + n], state)
        done += n
    return fnv1a_64_plain(octets[done:].tobytes(), state)


def fnv1a_64_plain(data: bytes, state: int = OFFSET_BASIS) -> int:
    """The definition, byte by byte."""
    for octet in data:
        state = (state ^ octet) * PRIME & _MASK
    return state


def _block(octets: np.ndarray, state: int) -> int:
    """Hash one block, a multiple of 8 bytes and at most _BLOCK."""
    n = octets.size
    low = np.full(n, state & 0xFF, np.uint8)
    mixed = np.zeros(n, np.uint8)  # low ^ octets, the bits found so far
    step = np.empty(n, np.uint8)
    for k in range(8):
        bit = 1 << k
        np.multiply(mixed, 0xB3, out=step)
        step ^= octets
        step &= bit
        low_bit = _xor_before(step)
        low_bit ^= low & bit
        low &= 0xFF ^ bit
        low |= low_bit
        mixed |= (low ^ octets) & bit
    difference = mixed.astype(np.int64)
    difference -= low
    total = int(np.dot(difference.view(np.uint64), _powers()[_BLOCK - n :]))
    return (state * pow(PRIME, n, 1 << 64) + total) & _MASK


def _xor_before(octets: np.ndarray) -> np.ndarray:
    """Running xor: out[i] = octets[0] ^ ... ^ octets[i - 1], in little-endian 64-bit words."""
    words = octets.view("<u8").copy()
    for shift in (8, 16, 32):
        words ^= words << np.uint64(shift)
    carry = np.bitwise_xor.accumulate(words >> np.uint64(56))
    words <<= np.uint64(8)
    words[1:] ^= carry[:-1] * _EVERY_BYTE
    return words.view(np.uint8)


@lru_cache(maxsize=1)
def _powers() -> np.ndarray:
    """uint64 [_BLOCK]: PRIME ** (_BLOCK - i) mod 2**64."""
    with np.errstate(over="ignore"):
        return np.multiply.accumulate(np.full(_BLOCK, PRIME, np.uint64))[::-1].copy()

"""Stub CUDA libraries, so that the CUDA build of torch can be imported where there is no CUDA.

The torch wheel of PyPI links to gigabytes of CUDA libraries and needs none of them on a CPU. These stand-ins hold the wanted symbols; each returns 1.
"""
import glob, struct
from pathlib import Path


def elf_links(path):
    """(names of needed libraries, undefined symbols) of an ELF64 file."""
    with open(path, 'rb') as f:
        head = f.read(64)
        if head[:5] != b'\x7fELF\x02': return [], []
        off, = struct.unpack_from('<Q', head, 40)
        size, count = struct.unpack_from('<HH', head, 58)
        f.seek(off); table = f.read(size * count)
        sections = [struct.unpack_from('<IIQQQQIIQQ', table, i * size) for i in range(count)]
        def data(s): f.seek(s[4]); return f.read(s[5])
        def text(strings, at): return strings[at:strings.index(b'\0', at)].decode()
        needed, undefined = [], []
        for s in sections:
            if s[1] == 6:                                            # SHT_DYNAMIC
                strings, d = data(sections[s[6]]), data(s)
                needed += [text(strings, v) for t, v in struct.iter_unpack('<QQ', d) if t == 1]
            elif s[1] == 11:                                         # SHT_DYNSYM
                strings, d = data(sections[s[6]]), data(s)
                undefined += [text(strings, e[0]) for e in list(struct.iter_unpack('<IBBHQQ', d))[1:] if e[3] == 0]
        return needed, undefined


def elf_hash(name):
    h = 0
    for c in name.encode():
        h = (h << 4) + c
        g = h & 0xf0000000
        h = (h ^ (g >> 24)) & ~g & 0xffffffff
    return h


def write_stub(path, soname, symbols, needs=()):
    """A shared library whose functions all return 1. The symbols are unversioned, so they may not sit in a file that callers name in a version requirement:
    one library holds them all and the others, which have the wanted names, only depend on it."""
    strings, at = bytearray(b'\0'), {}
    for n in [soname, *symbols, *needs]:
        at[n] = len(strings); strings += n.encode() + b'\0'
    code = 0x1000
    sym = bytes(24) + b''.join(struct.pack('<IBBHQQ', at[n], 0x12, 0, 1, code, 6) for n in symbols)
    buckets, chain = [0] * max(1, len(symbols)), [0] * (len(symbols) + 1)
    for i, n in enumerate(symbols, 1):
        b = elf_hash(n) % len(buckets); chain[i], buckets[b] = buckets[b], i
    table = struct.pack(f'<{2 + len(buckets) + len(chain)}I', len(buckets), len(chain), *buckets, *chain)
    up = lambda n, k: (n + k - 1) // k * k
    o_sym = code + 16; o_str = up(o_sym + len(sym), 16); o_hash = up(o_str + len(strings), 16); end = up(o_hash + len(table), 16); o_dyn = up(end, 4096)
    dyn = b''.join(struct.pack('<QQ', *e) for e in [*((1, at[n]) for n in needs), (14, at[soname]), (4, o_hash), (5, o_str), (6, o_sym), (10, len(strings)), (11, 24), (0, 0)])
    header = b'\x7fELF\x02\x01\x01' + bytes(9) + struct.pack('<HHIQQQIHHHHHH', 3, 62, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)
    segments = [(1, 5, 0, end, 4096), (1, 6, o_dyn, len(dyn), 4096), (2, 6, o_dyn, len(dyn), 8), (0x6474e551, 6, 0, 0, 16)]
    header += b''.join(struct.pack('<IIQQQQQQ', t, flags, o, o, o, n, n, align) for t, flags, o, n, align in segments)
    image = bytearray(o_dyn + len(dyn))
    for o, b in ((0, header), (code, b'\xb8\x01\x00\x00\x00\xc3'), (o_sym, sym), (o_str, strings), (o_hash, table), (o_dyn, dyn)): image[o:o + len(b)] = b
    Path(path).write_bytes(image)


def stub_cuda(lib):
    """Writes a stub for each CUDA library that the libraries in the folder need and that is not there."""
    needed, undefined = set(), set()
    for p in glob.glob(f'{lib}/*.so*'):
        n, u = elf_links(p); needed |= set(n); undefined |= set(u)
    have = {p.name for p in Path(lib).iterdir()}
    missing = sorted(n for n in needed - have if n.startswith(('libcu', 'libnccl', 'libnvrtc', 'libnvshmem')) and not n.startswith(('libcudart.', 'libcuda.')))
    prefixes = ('cublas', 'cudnn', 'cufft', 'cuFile', 'cusparse', 'nccl', 'pnccl', 'curand', 'nvrtc', 'cupti', 'cusolver', 'nvshmem')
    write_stub(f'{lib}/libcuda-absent.so', 'libcuda-absent.so', sorted(u for u in undefined if u.startswith(prefixes) or '_nvshmem' in u))
    for n in missing: write_stub(f'{lib}/{n}', n, [], ['libcuda-absent.so'])

"""Writes corpus/TARGET/*: small valid inputs of every kind, and some that are wrong in one place.

    python fuzz/make_corpus.py

Of what a fuzzer finds beyond these, a few small files are kept by hand (`found-*`).
"""

import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
FIXTURES = HERE.parent / "tests" / "fixtures" / "checkpoints"


def put(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


# Pickles: what follows the three that head a file of the older form.
whole = (FIXTURES / "orders_plain.pt").read_bytes()
put("pickle", "orders", whole[whole.index(b"\x80\x02}", 40) :])
STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x00K\x02\x85K\x01\x85\x89NtR"
NAME = b"X\x25\0\0\0image_encoder.patch_embed.proj.weight"
TAIL = b"\x80\x02](X\x01\0\0\x000e." + struct.pack("<Q2f", 2, 1, 2)
put("pickle", "one", b"\x80\x02}" + NAME + TENSOR + b"s." + TAIL)
put("pickle", "nested", b"\x80\x02}(X\x05\0\0\0model}" + NAME + TENSOR + b"sX\x03\0\0\0ema}" + NAME + TENSOR + b"su." + TAIL)
put("pickle", "memo", b"\x80\x04}\x94\x8c\x01a\x94(K\x01h\x01\x86\x94h\x02h\x02\x86\x94us.")
put("pickle", "ordered", b"\x80\x02ccollections\nOrderedDict\n)Rq\0(" + NAME + TENSOR + b"u}X\x09\0\0\0_metadata)sb." + TAIL)
put("pickle", "parameter", b"\x80\x02}" + NAME + b"ctorch._utils\n_rebuild_parameter\n(" + TENSOR + b"\x88)tRs." + TAIL)
put("pickle", "subclass", b"\x80\x02}" + NAME + b"ctorch._tensor\n_rebuild_from_type_v2\n(" + TENSOR[:34] + b"cx\ny\n(" + STORAGE + b"K\x00K\x02\x85K\x01\x85\x89NtNtRs." + TAIL)
put("pickle", "numbers", b"\x80\x02}(X\x01\0\0\0aJ\xff\xff\xff\xffU\x01b\x8a\x05\0\0\0\0\x01X\x01\0\0\0cG?\xf0\0\0\0\0\0\0u.")
put("pickle", "text_opcodes", b"(dS'a'\nI5\nsp0\nL7L\ng0\nF1.5\nVu\n1.")

# safetensors.
NAMES = ["image_encoder.patch_embed.seq.0.c.weight", "mask_decoder.iou_token.weight"]


def safetensors(header, data=b""):
    text = header if isinstance(header, str) else json.dumps(header)
    return struct.pack("<Q", len(text)) + text.encode() + data


one = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
half = {"dtype": "F16", "shape": [32, 3, 3, 1], "data_offsets": [8, 584]}
put("safetensors", "two", safetensors({NAMES[1]: one, NAMES[0]: half}, bytes(584)))
put("safetensors", "metadata", safetensors({"__metadata__": {"licence": "MIT"}, NAMES[1]: one}, bytes(8)))
adapter = {"p2sam.adapter": "1", "base_sha256": "0" * 64, "architecture": "mobile-sam", "base_file": "a.pt"}
put("safetensors", "adapter", safetensors({"__metadata__": adapter, NAMES[1]: one}, bytes(8)))
put("safetensors", "version", safetensors({"__metadata__": adapter | {"p2sam.adapter": "9"}, NAMES[1]: one}, bytes(8)))
put("safetensors", "wrapped", safetensors({f"model.{NAMES[1]}": one}, bytes(8)))
put("safetensors", "cut", safetensors({NAMES[1]: one}, bytes(4)))
put("safetensors", "empty", safetensors({}))
put("safetensors", "scalar", safetensors({"a": {"dtype": "BOOL", "shape": [], "data_offsets": [0, 1]}}, b"\1"))

# NIfTI-1: a header of 348 bytes, four bytes of extension, voxels.


def nifti(dims=(3, 2, 2), datatype=2, bits=8, sform=1, qform=0, slope=(1.0, 0.0), magic=b"n+1\0", order="<"):
    dim = [len(dims), *dims] + [1] * (7 - len(dims))
    header = struct.pack(f"{order}i", 348) + bytes(35) + b"\0" + struct.pack(f"{order}8h", *dim)
    header += bytes(14) + struct.pack(f"{order}3h", datatype, bits, 0)
    header += struct.pack(f"{order}8f", 1, 1, 2, 3, 0, 0, 0, 0) + struct.pack(f"{order}f", 352)
    header += struct.pack(f"{order}2f", *slope) + bytes(3) + b"\x02" + bytes(24 + 80 + 24)
    header += struct.pack(f"{order}2h", qform, sform) + struct.pack(f"{order}6f", 0.5, 0, 0, 1, 2, 3)
    header += struct.pack(f"{order}12f", 0, 2, 0, -7, 0, 0, -3, 5, 4, 0, 0, 0) + bytes(16) + magic
    assert len(header) == 348
    count = 1
    for side in dims:
        count *= side
    return header + bytes(4) + bytes(i % 3 for i in range(count * bits // 8))


put("nifti", "bytes", nifti())
put("nifti", "shorts_qform", nifti(datatype=4, bits=16, sform=0, qform=1, slope=(2.0, -5.0)))
put("nifti", "floats_big_endian", nifti(datatype=16, bits=32, order=">"))
put("nifti", "without_a_place", nifti(sform=0))
put("nifti", "four_sides", nifti(dims=(3, 2, 2, 1)))
put("nifti", "not_a_slope", nifti(slope=(float("nan"), 0.0)))
put("nifti", "two_files", nifti(magic=b"ni1\0"))
put("nifti", "cut", nifti()[:300])

# DICOM: explicit and implicit, lengths that are not given, fragments.


def element(group, tag, vr, value, explicit=True):
    value = value.encode() if isinstance(value, str) else value
    value += (b"\0" if vr in ("UI", "OB") else b" ") * (len(value) % 2)
    head = struct.pack("<HH", group, tag)
    if not explicit:
        return head + struct.pack("<I", len(value)) + value
    if vr in ("OB", "OW", "SQ", "UN", "UT"):
        return head + vr.encode() + bytes(2) + struct.pack("<I", len(value)) + value
    return head + vr.encode() + struct.pack("<H", len(value)) + value


def us(*numbers):
    return struct.pack(f"<{len(numbers)}H", *numbers)


def sequence(group, tag, items, explicit=True):
    head = struct.pack("<HH", group, tag) + (b"SQ\0\0" if explicit else b"") + b"\xff" * 4
    body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + item + struct.pack("<HHI", 0xFFFE, 0xE00D, 0) for item in items)
    return head + body + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def dicom(syntax="1.2.840.10008.1.2.1", pixels=None, extra=b"", frames=1, bits=16, preamble=True):
    explicit = syntax != "1.2.840.10008.1.2"
    meta = element(2, 1, "OB", b"\0\1") + element(2, 2, "UI", "1.2.840.10008.5.1.4.1.1.2")
    meta += element(2, 3, "UI", "1.2.3.1") + element(2, 0x10, "UI", syntax) + element(2, 0x12, "UI", "1.2.3")
    meta = element(2, 0, "UL", struct.pack("<I", len(meta))) + meta
    e = lambda *values: element(*values, explicit=explicit)
    body = e(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.2") + e(8, 0x18, "UI", "1.2.3.1") + e(8, 0x60, "CS", "CT")
    body += extra + e(0x20, 0xD, "UI", "1.2") + e(0x20, 0xE, "UI", "1.2.3") + e(0x20, 0x13, "IS", "1")
    body += e(0x20, 0x32, "DS", "-10\\-20\\30.5") + e(0x20, 0x37, "DS", "1\\0\\0\\0\\1\\0") + e(0x20, 0x52, "UI", "1.2.4")
    body += e(0x28, 2, "US", us(1)) + e(0x28, 4, "CS", "MONOCHROME2")
    body += e(0x28, 8, "IS", str(frames)) if frames > 1 else b""
    body += e(0x28, 0x10, "US", us(2)) + e(0x28, 0x11, "US", us(3)) + e(0x28, 0x30, "DS", "0.5\\0.5")
    body += e(0x28, 0x100, "US", us(bits)) + e(0x28, 0x101, "US", us(bits)) + e(0x28, 0x102, "US", us(bits - 1))
    body += e(0x28, 0x103, "US", us(0)) + e(0x28, 0x1052, "DS", "-1024") + e(0x28, 0x1053, "DS", "1")
    if pixels is None:
        pixels = e(0x7FE0, 0x10, "OW", us(0, 500, 1000, 1500, 2000, 2500) * frames)
    return (bytes(128) + b"DICM" if preamble else b"") + meta + body + pixels


def fragments(*parts):
    head = struct.pack("<HH", 0x7FE0, 0x10) + b"OB\0\0" + b"\xff" * 4 + struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    return head + b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in parts) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


RLE = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x05\0\1\2\3\4\5\0"
put("dicom", "explicit", dicom())
put("dicom", "implicit", dicom(syntax="1.2.840.10008.1.2"))
put("dicom", "sequence", dicom(extra=sequence(8, 0x1140, [element(8, 0x1150, "UI", "1.2"), b""])))
put("dicom", "rle", dicom(syntax="1.2.840.10008.1.2.5", bits=8, pixels=fragments(RLE)))
put("dicom", "two_frames", dicom(frames=2))
put("dicom", "fragments_of_nothing", dicom(syntax="1.2.840.10008.1.2.4.50", bits=8, pixels=fragments(b"", b"\xff\xd8\xff\xd9")))
put("dicom", "without_preamble", dicom(preamble=False))
put("dicom", "cut", dicom()[:-5])
put("dicom", "long_element", dicom(extra=struct.pack("<HH", 8, 0x70) + b"UT\0\0" + struct.pack("<I", 1 << 20)))

# Launch files.
for path in sorted((HERE.parent / "pipelines").glob("*"))[:2]:
    if path.is_file() and path.stat().st_size < 1500:
        put("launch", path.name, path.read_bytes())
put("launch", "slots", "# slot device = /dev/video0\n# slot n=3\n# paced\nv4l2src device={device} num-buffers={n}\n  ! video/x-raw,format={ I420, NV12 },width={n}\n  ! jpegdec\n# a b")
put("launch", "undeclared", "videotestsrc pattern={x} ! fakesink")
put("launch", "malformed", "# slot 9=\n# slot =\nvideotestsrc")
put("launch", "comments", "# nothing\n#\n")
put("launch", "quotes", "# slot a = \"x\" ! filesink\nfilesrc location={a} ! decodebin\n# x\" ! y\\")

# Requests.
HOST = "Host: localhost\r\n"
TOKEN = "Authorization: Bearer a token for tests\r\n"
put("http", "page", f"GET / HTTP/1.1\r\n{HOST}\r\n")
put("http", "login", f"GET /?token=a%20token+for%20tests HTTP/1.1\r\n{HOST}\r\n")
put("http", "wrong_token", f"GET /?token=%zz&token=%&x HTTP/1.1\r\n{HOST}\r\n")
put("http", "status", f"GET /api/status HTTP/1.1\r\n{HOST}{TOKEN}\r\n")
put("http", "health", f"GET /healthz HTTP/1.1\r\n{HOST}\r\n")
put("http", "metrics", f"GET /metrics HTTP/1.1\r\n{HOST}{TOKEN}\r\n")
BODY = '{"frozen":1,"prompt":{"points":[{"x":1,"y":2.5,"positive":true}],"box":[1,2,3,4]}}'
POST = f"{HOST}{TOKEN}X-P2SAM: 1\r\nOrigin: http://localhost\r\nContent-Type: application/json\r\n"
put("http", "segment", f"POST /api/segment HTTP/1.1\r\n{POST}Content-Length: {len(BODY)}\r\n\r\n{BODY}")
put("http", "upload", f"POST /api/upload?frozen=1&object=2 HTTP/1.1\r\n{HOST}{TOKEN}X-P2SAM: 1\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n\x89PNG")
put("http", "chunked", f"POST /api/accept HTTP/1.1\r\n{POST}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"fro\r\n3\r\nzen\r\n0\r\n\r\n")
put("http", "cookie", f"HEAD / HTTP/1.1\r\n{HOST}Cookie: p2sam_1=0; a; =b\r\n\r\n")
put("http", "foreign", f"POST /api/record HTTP/1.1\r\nHost: [::1]:80\r\nOrigin: null\r\n\r\n")
put("http", "two_hosts", f"GET http://a/ HTTP/1.1\r\n{HOST}{HOST}\r\n")
put("http", "old", "GET / HTTP/0.9\r\n\r\n")

# Lists of jobs.
put("jobs", "csv", 'input,reference,output,reference_frame,point\na/clip.mp4,a/mask.png,out/a,12.5s,\n"b, c","b""m.png",out/b,,"1,2 -3,4"\n')
put("jobs", "json_lines", '{"input": "a/clip.mp4", "output": "out/a", "box": "1,2,3,4"}\n\n{"input": "b.nii.gz", "output": "out/b", "propagate": true, "roi": "3"}\n')
put("jobs", "same_output", '{"input": "a", "output": "o"}\n{"input": "b", "output": "./o"}\n')
put("jobs", "unknown_column", "input,output,no_such\na,b,c\n")
put("jobs", "byte_order_mark", "\ufeffinput,output\na,b\n")
put("jobs", "ragged", "input,output\na,b,c\n\"")

# Masks in COCO's form.
put("coco", "small", '{"size":[3,2],"counts":"121201"}')
put("coco", "disc", '{"size":[9,7],"counts":"a05415O2O1N3M4"}')
put("coco", "empty", '{"size":[2,2],"counts":"4"}')
put("coco", "full", '{"size":[2,2],"counts":"04"}')
put("coco", "enormous", '{"size":[65536,65536],"counts":"PPPPPP4"}')
put("coco", "wrong", '{"size":[2,2],"counts":"~"}')

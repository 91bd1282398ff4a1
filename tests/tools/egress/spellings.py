"""Ways to write addresses that no tool may reach. `{port}` is the port of a server that waits for the first to come."""

# All of them this machine: to one reader of addresses or another.
LOOPBACK = """
127.0.0.1 127.0.0.1. 127.1 127.0.1 127.255.255.254 127.0.0.2 127.8.9
2130706433 017700000001 0x7f000001 0X7F000001 0x7f.1 0x7f.0.0.1 0177.0.0.1 0177.1 0x7f.0x0.0x0.0x1 127.0x1 0x7f.01
00000177.0.0.01 0000000017700000001 0x0000007f000001 127.000.000.001 127.0.0.0x1 0177.0x0.0.1
localhost LOCALHOST localhost. LocalHost
0 0.0.0.0 0x0 00 0.0 000.000.000.000
[::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::] [::0001]
[::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:127.0.0.1] [0:0:0:0:0:ffff:127.0.0.1] [::ffff:0.0.0.0]
[::127.0.0.1] [::7f00:1] [::ffff:0:127.0.0.1] [::ffff:0:7f00:1]
[64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::127.0.0.1] [64:ff9b:1:7f00:0:100::] [64:ff9b:1:7f:0:1::]
[2002:7f00:1::] [2002:7f00:1::1] [2001:0:7f00:1::] [2001:0:4136:e378:8000:63bf:80ff:fffe]
[fe80::5efe:127.0.0.1] [2a00::5efe:127.0.0.1] [2a00::200:5efe:7f00:1]
[::1%lo] [::1%25lo] [fe80::1%lo] [::ffff:127.0.0.1%25lo]
１２７.0.0.1 １２７．０．０．１ ①②⑦.⓪.⓪.① 127。0。0。1 127｡0｡0｡1 ⑫⑦.0.0.1 𝟏𝟐𝟕.0.0.1 𝟙𝟚𝟟.𝟘.𝟘.𝟙 ²¹³⁰⁷⁰⁶⁴³³ ０ｘ７ｆ.1
ⓛⓞⓒⓐⓛⓗⓞⓢⓣ ｌｏｃａｌｈｏｓｔ 𝓁ocalhost loc\u00adalhost
%31%32%37.0.0.1 127%2e0.0.1 127.0.0.1%00 127.0.0.1%23
""".split()

# Where nothing waits in a test, and a cloud or a company has what it would not give away.
ELSEWHERE = """
169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe]
[64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::] [fd00:ec2::254] [fd20:ce::254] 169.254.170.2 100.100.100.200 168.63.129.16
192.0.0.192 metadata.google.internal METADATA.GOOGLE.INTERNAL. metadata.goog metadata instance-data
①⑥⑨.②⑤④.①⑥⑨.②⑤④ 169。254。169。254
10.0.0.1 10.1 012.0.0.1 172.16.0.1 172.31.255.254 192.168.0.1 192.168.257 0xc0a80001 100.64.0.1 100.127.255.254
192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 192.88.99.1
[fc00::1] [fd12:3456::1] [fec0::1] [ff02::1] [2001:db8::1] [100::1] [3fff::1] [2002:a00:1::1] [::10.0.0.1]
[64:ff9b::10.0.0.1] [64:ff9b:1:a00:0:100::] [::ffff:10.0.0.1] [2a00::5efe:10.0.0.1]
""".split()

# Whole URLs that are read as one host by some and as this machine by others.
URLS = (
    """
http://127.0.0.1:{port}/ HTTP://127.0.0.1:{port} http://public.example@127.0.0.1:{port}/
http://public.example:80@127.0.0.1:{port}/ http://127.0.0.1:{port}@public.example/ http://127.0.0.1:{port}\\@public.example/
http://127.0.0.1:{port}#@public.example/ http://127.0.0.1:{port}?@public.example/ http:127.0.0.1:{port}/
http:/127.0.0.1:{port}/ http:///127.0.0.1:{port}/ http:\\\\127.0.0.1:{port}/ http://[::ffff:127.0.0.1]:{port}/
http://public.example\t@127.0.0.1:{port}/ http://127.0.0.1:0{port}/ http://[127.0.0.1]:{port}/
""".strip()
    .replace("\n", " ")
    .split(" ")
)

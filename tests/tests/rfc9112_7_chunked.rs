//! RFC 9112 §7: chunks, their extensions, and trailers.

use forebay_tests::Strict;

fn chunked(content: &str) -> String {
    format!("POST /once/bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{content}")
}

fn echo(content: &str) -> String {
    chunked(content).replace("/once/bad", Strict::ECHO)
}

/// §7.1: `1*HEXDIG`, and "recipients MUST anticipate … and prevent … overflows".
#[test]
fn chunk_sizes_are_hexadecimal_rfc_9112_7_1() {
    let mut edge = Strict::edge();
    for size in [
        "",
        "g",
        "0x1",
        "0X1",
        "x1",
        "+1",
        "-1",
        "1_0",
        " 1",
        "\t1",
        "1 ",
        "1\t",
        "1.0",
        "1h",
        "\"1\"",
        "\0",
        "1\0",
        "\u{661}",
        ";a=b",
        "00000000000001",
        "10000000000000",
        "fffffffffffffffff",
        "10000000000000001",
        "100000000000000000000000000000001",
    ] {
        let content = format!("{size}\r\na\r\n0\r\n\r\n");
        edge.refuses(format_args!("{size:?}"), chunked(&content), 400);
    }
    let endless = format!("fffffffffffff\r\n{}", "x".repeat((16 << 20) + 1));
    edge.refuses("thirteen digits", chunked(&endless), 413);
    for (size, content) in [
        ("1", "a"),
        ("01", "a"),
        ("0000000000001", "a"),
        ("a", "0123456789"),
        ("A", "0123456789"),
        ("00A", "0123456789"),
    ] {
        edge.serves(size, echo(&format!("{size}\r\n{content}\r\n0\r\n\r\n")), content.as_bytes());
    }
    for last in ["0", "00", "0000000000000"] {
        edge.serves(last, echo(&format!("1\r\na\r\n{last}\r\n\r\n")), b"a");
    }
    edge.finish();
}

/// §7.1, §2.2: and only there.
#[test]
fn chunk_lines_end_in_crlf_rfc_9112_7_1() {
    let mut edge = Strict::edge();
    for (what, content) in [
        ("LF behind the size", "1\na\r\n0\r\n\r\n"),
        ("CR behind the size", "1\ra\r\n0\r\n\r\n"),
        ("CR CR LF behind the size", "1\r\r\na\r\n0\r\n\r\n"),
        ("LF behind the chunk", "1\r\na\n0\r\n\r\n"),
        ("CR behind the chunk", "1\r\na\r0\r\n\r\n"),
        ("nothing behind the chunk", "1\r\na0\r\n\r\n"),
        ("a longer chunk", "1\r\nab\r\n0\r\n\r\n"),
        ("a shorter chunk", "3\r\na\r\n0\r\n\r\n"),
        ("two ends of a chunk", "1\r\na\r\n\r\n0\r\n\r\n"),
        ("LF behind the last chunk", "1\r\na\r\n0\n\r\n"),
        ("LF at the end", "1\r\na\r\n0\r\n\n"),
        ("CR CR LF at the end", "1\r\na\r\n0\r\n\r\r\n"),
        ("a space at the end", "1\r\na\r\n0\r\n \r\n"),
    ] {
        edge.refuses(what, chunked(content), 400);
    }
    edge.finish();
}

/// §7.1.1: extensions are ignored, and limited. Erratum 7633: no bare CR or LF, not even quoted.
#[test]
fn extensions_are_dropped_and_bounded_rfc_9112_7_1_1() {
    let mut edge = Strict::edge();
    for byte in (0..=255_u8).filter(|byte| byte.is_ascii_control() && !b"\t\r\n".contains(byte)) {
        let request = [chunked("1;a").as_bytes(), &[byte], b"\r\na\r\n0\r\n\r\n"].concat();
        edge.refuses(format_args!("{byte:#x}"), request, 400);
    }
    for extension in
        ["a\nb", "a\rb", "\"\n\"", "\"\r\n\"", "\"a\r\"", "a=\"\\\n\"", "a=\"b", "\"\\\""]
    {
        let content = format!("1;{extension}\r\na\r\n0\r\n\r\n");
        edge.refuses(format_args!("{extension:?}"), chunked(&content), 400);
    }
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "b".repeat(300));
    edge.refuses("a long one", chunked(&long), 400);
    edge.refuses("one without end", chunked(&format!("1;{}", "b".repeat(100_000))), 400);
    for extension in ["", "a", "a=b", "a=\"b;c\"", "a=\"\\\"\"", " a = b", "a;b;c"] {
        let content = format!("1;{extension}\r\na\r\n0;{extension}\r\n\r\n");
        edge.serves(format_args!("{extension:?}"), echo(&content), b"a");
    }
    edge.finish();
}

/// §7.1.1 has BWS there, and RFC 9110 §5.6.3: "A recipient MUST parse for such bad whitespace and
/// remove it". Without an extension behind it, it is none.
#[test]
fn white_space_before_extensions_is_dropped_rfc_9112_7_1_1() {
    let mut edge = Strict::edge();
    for extension in [" ;a=b", "\t;a", " \t ;a", " ;", " ; a = b ; c "] {
        let content = format!("1{extension}\r\na\r\n0{extension}\r\n\r\n");
        edge.serves(format_args!("{extension:?}"), echo(&content), b"a");
    }
    for extension in [" ", "\t", "  a", " 1", " 1;a", "\x0b;a", "\r;a", "\n;a", " \r;a", " \n;a"] {
        let content = format!("1{extension}\r\na\r\n0\r\n\r\n");
        edge.refuses(format_args!("{extension:?}"), chunked(&content), 400);
    }
    let long = format!("1{};a\r\na\r\n0\r\n\r\n", " ".repeat(300));
    edge.refuses("much of it", chunked(&long), 400);
    edge.refuses("without end", chunked(&format!("1{}", " ".repeat(100_000))), 400);
    edge.finish();
}

/// §7.1.1: "a limit on the total length of chunk extensions"; many small chunks are no attack.
#[test]
fn framing_does_not_outweigh_content_rfc_9112_7_1_1() {
    let mut edge = Strict::edge();
    let small = "1\r\na\r\n".repeat(20_000) + "0\r\n\r\n";
    edge.serves("small chunks", echo(&small), &b"a".repeat(20_000));
    let bloated = "1;extension\r\na\r\n".repeat(20_000) + "0\r\n\r\n";
    edge.refuses("bloated chunks", chunked(&bloated), 400);
    edge.finish();
}

/// §7.1.2: "MUST NOT … be merged": parsed, bounded, dropped.
#[test]
fn trailers_are_checked_and_dropped_rfc_9112_7_1_2() {
    let mut edge = Strict::edge();
    for trailer in [
        "abc",
        ": b",
        "A : b",
        " A: b",
        "A: b\r\n c",
        "A: b\0",
        "A: b\nC: d",
        "A: b\rC: d",
        "A\0: b",
        "\u{e4}: b",
        "A: b\r\n\tc",
    ] {
        let content = format!("1\r\na\r\n0\r\n{trailer}\r\n\r\n");
        edge.refuses(format_args!("{trailer:?}"), chunked(&content), 400);
    }
    let long = format!("0\r\nA: {}\r\n\r\n", "b".repeat(10_000));
    edge.refuses("a long one", chunked(&long), 431);
    edge.refuses("many", chunked(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(2_000))), 431);
    let good = echo("1\r\na\r\n0\r\nA: b\r\nContent-Length: 9\r\nX-Forwarded-For: c\r\n\r\n");
    let seen = edge.site().client().exchange(&good).text().to_owned();
    edge.holds(format_args!("trailers in {seen}"), !seen.contains("X-Forwarded-For\",\"c"));
    edge.serves("good ones", good, b"a");
    edge.finish();
}

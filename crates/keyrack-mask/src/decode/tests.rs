//! The canonical form by escape.

use super::*;

#[test]
fn canonical_decodes_each_escape() {
    for (text, expected) in [
        ("plain", "plain"),
        ("a b\tc\r\nd'e\"f`g=h\u{7f}", "abcdefgh"),
        ("a-b_c", "a+b/c"),
        // JSON and the languages of C
        (r#"\u0041\u00e9\u002B\n\/\"\\y"#, "A\u{e9}+/y"),
        (r"\ud83d\udd11!", "\u{1f511}!"),
        (r"\ud83dx\udd11", "\u{fffd}x\u{fffd}"),
        (r"\\u0041 \\\\u0041", "AA"),
        (r"\x41\x4 \101\10 \0z\1012\377", "Ax4AzA2\u{fffd}"),
        (r"\u{41}\u{1f511}\U0001f511\u{}\u{1234567}", "A\u{1f511}\u{1f511}u{}u{1234567}"),
        (r"\d\$\&\%\-", "d$&%+"),
        // percent
        ("%41%c3%A9%2541%252541%u00e9%%4", "A\u{e9}AA\u{e9}%%4"),
        ("%2%35", "%"),
        ("100% ab", "100%ab"),
        // HTML
        (
            "&amp;&lt;&AMP;&eacute;&#65;&#x41;&#X0041;&equals;&shy;&bogus;&;&#;&#x;",
            "&<&\u{e9}AAA&bogus;&;&#;&#x;",
        ),
        ("&amp;amp;amp;x&amp;#65;", "&xA"),
        ("?a=b&key=c", "?ab&keyc"),
        // quoted-printable
        ("=41=4a=\r\n=C3=A9=3D41==", "A4a\u{e9}A"),
        // shells and SQL
        ("a$$b$$$$c$'d'$\"e\"$f$ g", "a$b$cde$f$g"),
        ("it'\\''s 'it''s' a\\\nb", "itsitsab"),
        (r"\$\$x", "$x"),
        // broken lines
        ("%4\r\n  1\\\nu0041\\\nnx\\ n\\u00\n41", "AAnxnA"),
        // terminals
        ("a\u{1b}[31mb\u{1b}[0;1mc\u{1b}[Kd\u{1b}(Be\u{1b}7f", "abcdef"),
        ("a\\u001b[31mb\\e[0mc\\033[Kd", "abcd"),
        ("\u{1b}]8;;http://x\u{1b}\\y\u{1b}]8;;\u{7}z", "8;;http://xy8;;z"),
        // levels
        (r"%5Cu0041 &#92;x41 =5Cx41 \u0025\u0034\u0031 \u0026amp;", "AAAA&"),
        // an octal number ends where its digits end
        (r"\1%01 \7\7\'", "\u{0}"),
        (r"\44\60\61", "$01"),
        // … and goes on in escapes where it was escaped itself
        (r"\u005c\u0030\u0034\u0030\u0038 \u005c\u0031%zz \u005c1\u0030\u0031", "8%zzA"),
        (r"\u005c\u0031\u005c\u0031\u0030\u0031%5C%31%30%32&#92;&#49;&#48;&#51;", "\u{0}ABC"),
    ] {
        let out = canonical(text.as_bytes());
        let expected = expected.replace('\u{0}', "");
        let lossy = String::from_utf8_lossy(&out).into_owned();
        let folded = |text: &str| text.replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}");
        assert_eq!(folded(&lossy), folded(&expected), "{text:?}");
    }
}

#[test]
fn canonical_is_never_longer_than_the_text() {
    for text in ["%", "&", "=", "\\", "$", "\\u", "&#", "%4", "\\ud83d", "\u{1b}", "%&=\\$"] {
        let out = canonical(text.repeat(500).as_bytes());
        assert!(out.len() <= text.len() * 500, "{text}");
    }
}

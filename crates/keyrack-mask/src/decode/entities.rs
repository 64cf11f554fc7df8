//! Entities of HTML.

/// Entities of HTML (WHATWG §13.5) for ASCII, and the no-break space.
const ENTITIES: [(&str, char); 46] = [
    ("Tab", '\t'),
    ("NewLine", '\n'),
    ("nbsp", ' '),
    ("excl", '!'),
    ("quot", '"'),
    ("QUOT", '"'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("amp", '&'),
    ("AMP", '&'),
    ("apos", '\''),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("lt", '<'),
    ("LT", '<'),
    ("equals", '='),
    ("gt", '>'),
    ("GT", '>'),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("Hat", '^'),
    ("lowbar", '_'),
    ("UnderBar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("VerticalLine", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
    ("shy", '\u{0}'),
];

/// Entities of Latin-1, U+00A1 to U+00FF, in order (HTML 4.01 §24.2.1). U+00AD is `shy`.
const LATIN_1: &str = "iexcl cent pound curren yen brvbar sect uml copy ordf laquo not - reg macr deg plusmn sup2 sup3 acute micro para \
middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave \
Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc \
atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash \
ugrave uacute ucirc uuml yacute thorn yuml";

/// Returns the code point of a named entity.
pub(super) fn entity(name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    let ascii = ENTITIES.iter().find(|(known, _)| *known == name).map(|(_, c)| u32::from(*c));
    ascii.or_else(|| LATIN_1.split(' ').zip(0xa1..).find(|(known, _)| *known == name).map(|(_, c)| c))
}

//! Text that looks and compresses like source code, from a seed.

/// Nouns and verbs for names of files and things in them.
const WORDS: &[&str] = &[
    "account", "address", "amount", "archive", "banner", "basket", "branch", "buffer", "cache", "change",
    "client", "commit", "config", "context", "counter", "cursor", "delivery", "digest", "driver", "element",
    "engine", "entry", "event", "export", "factory", "field", "filter", "folder", "format", "frame",
    "handler", "header", "history", "index", "input", "invoice", "item", "journal", "label", "layout",
    "ledger", "length", "limit", "list", "loader", "locale", "manager", "mapping", "marker", "member",
    "message", "method", "model", "module", "number", "object", "offset", "option", "order", "output",
    "packet", "parser", "payment", "policy", "printer", "process", "product", "profile", "project", "query",
    "queue", "reader", "record", "region", "report", "request", "resource", "result", "router", "sample",
    "schema", "section", "server", "session", "signal", "source", "state", "storage", "stream", "string",
    "summary", "supply", "symbol", "table", "target", "template", "ticket", "token", "transfer", "update",
    "upload", "value", "vendor", "version", "widget", "window", "worker", "writer",
];

/// How lines look; `$` is a word, `#` a number.
const LINES: &[&str] = &[
    "    let $_$ = self.$.$($_$, #)?;",
    "    if $.$ > # {",
    "    }",
    "",
    "        return Err($Error::$ { $: #, $ });",
    "// The $ of a $ is kept until its $ was read.",
    "pub fn $_$($: &$, $: u32) -> Result<$, $Error> {",
    "}",
    "    for $ in $.$().filter(|$| $.$ != #) {",
    "    assert_eq!($_$($), #, \"the $ has another $\");",
    "const $_$: usize = # * #;",
    "import { $, $_$ } from './$/$';",
    "    this.$ = new $($.$, { $: #, $: '$' });",
    "  - name: $-$-#",
    "    \"$_$\": \"#.#.#\",",
];

/// What files end in.
const ENDINGS: &[&str] = &["rs", "ts", "js", "py", "md", "json", "yaml", "css", "html", "go"];

/// Random text: small, quick, and the same for the same seed.
pub(crate) struct TextSource {
    state: u64,
}

impl TextSource {
    pub(crate) fn new(seed: u64) -> TextSource {
        // SplitMix64 below takes any state, so that seeds that lie close give unlike texts.
        TextSource { state: seed }
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn word(&mut self) -> &'static str {
        // The product of two fractions: some words are far more frequent than others, as in real text.
        let count = WORDS.len();
        WORDS[self.below(count) * self.below(count) / count]
    }

    /// A file's size: mostly below the mean, some far above.
    pub(crate) fn file_bytes(&mut self, mean: usize) -> usize {
        match self.below(10) {
            0 => mean * 4,
            1..=3 => mean,
            _ => mean / 2,
        }
    }

    /// The path of file `number`: different for each number, in folders of some tens of entries.
    pub(crate) fn path(&mut self, number: usize) -> String {
        let folder = number / 30;
        let (a, b, c) = (WORDS[folder % 7], WORDS[folder / 7 % 31], WORDS[folder / 217 % WORDS.len()]);
        let ending = ENDINGS[self.below(ENDINGS.len())];
        format!("{a}/{b}/{c}{folder}/{}_{number}.{ending}", self.word())
    }

    /// At least `bytes` of lines, up to the end of a line.
    pub(crate) fn file(&mut self, bytes: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes + 80);
        while text.len() < bytes {
            for byte in LINES[self.below(LINES.len())].bytes() {
                match byte {
                    b'$' => text.extend_from_slice(self.word().as_bytes()),
                    b'#' => text.extend_from_slice(self.below(1000).to_string().as_bytes()),
                    other => text.push(other),
                }
            }
            text.push(b'\n');
        }
        text
    }
}

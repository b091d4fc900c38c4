//! A line of a policy as words and symbols.

/// A word or symbol, with its place in the line in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) at: usize,
    pub(crate) text: &'a str,
}

/// What stands alone; the longer ones first, as some begin like others.
const SYMBOLS: [&str; 17] =
    ["=>", "==", "!=", "<=", ">=", "&&", "||", "=", "!", "<", ">", "&", "(", ")", "?", ":", "/"];

/// Cuts a line into tokens, up to a `#`. An error is the place of a character that belongs to none.
pub(crate) fn tokens(line: &str) -> Result<Vec<Token<'_>>, usize> {
    let line = line.split('#').next().unwrap_or_default();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = line[at..].chars().next() {
        if first.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let length = token_bytes(&line[at..]).ok_or(at)?;
        tokens.push(Token { at, text: &line[at..at + length] });
        at += length;
    }
    Ok(tokens)
}

/// Length of the token at the beginning.
fn token_bytes(text: &str) -> Option<usize> {
    if let Some(length) = address_bytes(text) {
        return Some(length);
    }
    if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| text.starts_with(symbol)) {
        return Some(symbol.len());
    }
    let length = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)).count();
    (length > 0).then_some(length)
}

/// Length of an address of IPv6, which has two colons or more: one colon alone is that of a choice.
fn address_bytes(text: &str) -> Option<usize> {
    let length = text.bytes().take_while(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)).count();
    let colons = text[..length].bytes().filter(|&byte| byte == b':').count();
    (colons >= 2).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<&str> {
        tokens(line).unwrap().into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_and_symbols_need_no_spaces_between() {
        assert_eq!(texts("port>=5&&!vlan 3=>!ddp#x"), ["port", ">=", "5", "&&", "!", "vlan", "3", "=>", "!", "ddp"]);
        assert_eq!(
            texts("host 10.1/16 portrange 1-2 tos -1 -"),
            ["host", "10.1", "/", "16", "portrange", "1-2", "tos", "-1", "-"]
        );
    }

    #[test]
    fn a_colon_is_an_address_or_a_choice() {
        assert_eq!(texts("net fe80::/10 host ::1"), ["net", "fe80::", "/", "10", "host", "::1"]);
        assert_eq!(texts("listen?aopen:popen"), ["listen", "?", "aopen", ":", "popen"]);
    }

    #[test]
    fn other_characters_are_told() {
        assert_eq!(tokens("port 22 $"), Err(8));
        assert_eq!(tokens("häuser"), Err(1));
        assert_eq!(tokens("a | b"), Err(2));
    }
}

//! Policies from text.

use crate::error::{PolicyError, PolicyErrors};
use crate::filter::{Filter, NESTING_MAX, Network, Policy, Quantity, Relation, Rule, Side};
use crate::lexer::{Token, tokens};
use crate::opening::OpenKind;
use crate::parse_settings::parse_settings;
use std::net::{IpAddr, Ipv4Addr};

/// Longest text of a policy, in bytes.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// Most errors that are told of one policy.
pub const ERRORS_MAX: usize = 1000;

/// What is wrong, and where in the line, in bytes.
pub(crate) type Wrong = (usize, String);

/// Ports that have names here, as they are registered.
const SERVICES: [(&str, u16); 20] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("pop3", 110),
    ("sunrpc", 111),
    ("ntp", 123),
    ("imap", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("microsoft-ds", 445),
    ("iscsi", 860),
    ("nfs", 2049),
    ("isns", 3205),
    ("iscsi-target", 3260),
    ("ms-wbt-server", 3389),
    ("nvme", 4420),
];

impl Policy {
    /// Reads a policy: a rule a line; `#` begins a comment.
    ///
    /// # Errors
    /// All that is wrong with it, up to [`ERRORS_MAX`].
    pub fn parse(text: &str) -> Result<Self, PolicyErrors> {
        if text.len() > TEXT_BYTES_MAX {
            let text = format!("a policy has {TEXT_BYTES_MAX} bytes at most, and not {}", text.len());
            return Err(PolicyErrors(vec![PolicyError { line: 1, column: 1, text }]));
        }
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let mut wrong = Vec::new();
            rules.extend(parse_line(line, &mut wrong));
            errors.extend(wrong.into_iter().map(|(at, text)| PolicyError {
                line: number as u32 + 1,
                column: line[..at].chars().count() as u32 + 1,
                text,
            }));
        }
        errors.truncate(ERRORS_MAX);
        if errors.is_empty() { Ok(Self { rules }) } else { Err(PolicyErrors(errors)) }
    }
}

/// The rule of a line, if it has one.
fn parse_line(line: &str, wrong: &mut Vec<Wrong>) -> Option<Rule> {
    let tokens = match tokens(line) {
        Ok(tokens) if tokens.is_empty() => return None,
        Ok(tokens) => tokens,
        Err(at) => {
            let character = line[at..].chars().next().unwrap_or(' ');
            wrong.push((at, format!("{character:?} belongs to no word or sign of the language")));
            return None;
        }
    };
    let end = line.trim_end().len();
    let Some(arrow) = tokens.iter().position(|token| token.text == "=>") else {
        wrong.push((end, "a rule is `filter => settings`: the `=>` is missing".to_owned()));
        return None;
    };
    let (filter, settings) = (&tokens[..arrow], &tokens[arrow + 1..]);
    let filter = Parser { tokens: filter, end: tokens[arrow].at, qualifier: None, depth: 0 }.rule_filter();
    let filter = filter.map_err(|error| wrong.push(error)).ok();
    let settings = parse_settings(settings, end, wrong);
    Some(Rule { filter: filter?, settings: settings? })
}

/// What a value is compared with; what stands in front of the next value, if it is left out there.
#[derive(Clone, Copy)]
enum Qualifier {
    Host(Side),
    Net(Side),
    Ports(Side),
    Number(Quantity),
}

struct Parser<'a, 'b> {
    tokens: &'b [Token<'a>],
    /// Where the filter ends, in bytes.
    end: usize,
    qualifier: Option<Qualifier>,
    depth: usize,
}

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.first().map(|token| token.text)
    }

    fn at(&self) -> usize {
        self.tokens.first().map_or(self.end, |token| token.at)
    }

    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.text)
    }

    /// Takes the next token if it is one of these.
    fn take(&mut self, words: &[&str]) -> bool {
        let taken = self.peek().is_some_and(|text| words.contains(&text));
        if taken {
            self.next();
        }
        taken
    }

    fn found(&self) -> String {
        self.peek().map_or("the end of the filter".to_owned(), |text| format!("`{text}`"))
    }

    fn rule_filter(&mut self) -> Result<Filter, Wrong> {
        if self.tokens.is_empty() {
            return Err((self.end, "a filter is missing before `=>`: `any` matches everything".to_owned()));
        }
        let filter = self.choice()?;
        match self.tokens {
            [] => Ok(filter),
            [token, ..] => Err((token.at, format!("`{}` cannot stand here: is a `(` or `?` missing?", token.text))),
        }
    }

    /// Goes one level down.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.depth == NESTING_MAX {
            return Err((self.at(), format!("a filter is nested {NESTING_MAX} deep at most: split the rule")));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// `filter ? filter : filter`.
    fn choice(&mut self) -> Result<Filter, Wrong> {
        let condition = self.any_of()?;
        if !self.take(&["?"]) {
            return Ok(condition);
        }
        let then = self.nested(Self::choice)?;
        if !self.take(&[":"]) {
            return Err((self.at(), format!("expected the `:` of a `?`, and not {}", self.found())));
        }
        let otherwise = self.nested(Self::choice)?;
        Ok(Filter::Choose(Box::new([condition, then, otherwise])))
    }

    fn any_of(&mut self) -> Result<Filter, Wrong> {
        let mut filters = vec![self.all_of()?];
        while self.take(&["or", "||"]) {
            filters.push(self.all_of()?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::Any(filters) })
    }

    /// The `and` may be left out.
    fn all_of(&mut self) -> Result<Filter, Wrong> {
        let mut filters = vec![self.term()?];
        while self.take(&["and", "&&"]) || !matches!(self.peek(), None | Some("or" | "||" | "?" | ":" | ")")) {
            filters.push(self.term()?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::All(filters) })
    }

    fn term(&mut self) -> Result<Filter, Wrong> {
        if self.take(&["not", "!"]) {
            return Ok(Filter::Not(Box::new(self.nested(Self::term)?)));
        }
        if self.take(&["("]) {
            let filter = self.nested(Self::choice)?;
            if !self.take(&[")"]) {
                return Err((self.at(), format!("expected a `)`, and not {}", self.found())));
            }
            return Ok(filter);
        }
        self.primitive()
    }

    fn primitive(&mut self) -> Result<Filter, Wrong> {
        let at = self.at();
        let Some(word) = self.peek() else {
            return Err((at, "the filter ends where something to match was expected".to_owned()));
        };
        if let Some(filter) = fixed(word) {
            self.next();
            self.qualifier = None;
            return Ok(filter);
        }
        if let Some(qualifier) = self.take_qualifier()? {
            self.qualifier = Some(qualifier);
            return self.comparison(qualifier);
        }
        match self.qualifier {
            Some(qualifier) => self.comparison(qualifier),
            None if is_value(word) => {
                Err((at, format!("{word} of what? Say so before it: `host {word}`, `port {word}`, `vlan {word}`")))
            }
            None => {
                let text =
                    "expected all, listen, aopen, popen, host, net, port, portrange, vers, tos, dscp, vlan or mark";
                Err((at, format!("`{word}` is nothing to match: {text}")))
            }
        }
    }

    /// What stands before a value, if it is there.
    fn take_qualifier(&mut self) -> Result<Option<Qualifier>, Wrong> {
        let side = self.take_side();
        let at = self.at();
        let word = self.peek();
        let addressed = side.unwrap_or(Side::Either);
        let qualifier = match word {
            Some("host") => Qualifier::Host(addressed),
            Some("net") => Qualifier::Net(addressed),
            Some("port") => Qualifier::Number(Quantity::Port(addressed)),
            Some("portrange") => Qualifier::Ports(addressed),
            _ if side.is_some() => {
                let text = "after src or dst comes host, net, port or portrange, and not";
                return Err((at, format!("{text} {}", self.found())));
            }
            Some("vers") => Qualifier::Number(Quantity::Version),
            Some("tos") => Qualifier::Number(Quantity::TypeOfService),
            Some("dscp") => Qualifier::Number(Quantity::Dscp),
            Some("vlan") => Qualifier::Number(Quantity::Vlan),
            Some("mark") => Qualifier::Number(Quantity::Mark),
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(qualifier))
    }

    fn take_side(&mut self) -> Option<Side> {
        let texts = |at: usize| self.tokens.get(at).map(|token| token.text);
        let (side, length) = match (texts(0)?, texts(1), texts(2)) {
            ("src", Some("or" | "||"), Some("dst" | "dest")) => (Side::Either, 3),
            ("src", Some("and" | "&&"), Some("dst" | "dest")) => (Side::Both, 3),
            ("src", ..) => (Side::Source, 1),
            ("dst" | "dest", ..) => (Side::Destination, 1),
            _ => return None,
        };
        self.tokens = &self.tokens[length..];
        Some(side)
    }

    fn comparison(&mut self, qualifier: Qualifier) -> Result<Filter, Wrong> {
        match qualifier {
            Qualifier::Host(side) => {
                let negated = self.equality()?;
                let network = Network::host(self.address(4)?.0);
                Ok(Filter::Address { side, negated, network })
            }
            Qualifier::Net(side) => {
                let negated = self.equality()?;
                Ok(Filter::Address { side, negated, network: self.network()? })
            }
            Qualifier::Ports(side) => self.ports(side),
            Qualifier::Number(quantity) => {
                let mask = if self.take(&["&"]) { Some(self.number(quantity, "the mask")?) } else { None };
                let relation = self.relation().unwrap_or(Relation::Equal);
                let at = self.at();
                let value = self.number(quantity, "the value")?;
                if quantity == Quantity::Version && mask.is_none() && value != 4 && value != 6 {
                    return Err((at, format!("IP has the versions 4 and 6, and not {value}")));
                }
                Ok(Filter::Number { quantity, mask, relation, value })
            }
        }
    }

    fn relation(&mut self) -> Option<Relation> {
        let relation = match self.peek()? {
            "=" | "==" => Relation::Equal,
            "!=" => Relation::NotEqual,
            "<" => Relation::Less,
            "<=" => Relation::AtMost,
            ">" => Relation::Greater,
            ">=" => Relation::AtLeast,
            _ => return None,
        };
        self.next();
        Some(relation)
    }

    /// A relation of addresses: whether it is `!=`.
    fn equality(&mut self) -> Result<bool, Wrong> {
        let at = self.at();
        match self.relation() {
            None | Some(Relation::Equal) => Ok(false),
            Some(Relation::NotEqual) => Ok(true),
            Some(relation) => Err((at, format!("addresses are compared by == and !=, and not by {relation}"))),
        }
    }

    /// An address, with the octets that are written of it: `octets_min` or more, or all of IPv6.
    fn address(&mut self, octets_min: usize) -> Result<(IpAddr, u32), Wrong> {
        let at = self.at();
        let expected = if octets_min == 4 { "such as 10.0.0.1 or fd00::1" } else { "such as 10.0 or fd00::" };
        let wrong = |found| (at, format!("expected an address {expected}, and not {found}"));
        let found = self.found();
        let word = self.next().ok_or_else(|| wrong(found.clone()))?;
        if word.contains(':') {
            return word.parse().map(|address| (IpAddr::V6(address), 16)).map_err(|_| wrong(found));
        }
        let mut octets = [0; 4];
        let mut count = 0;
        for part in word.split('.') {
            let Some(octet) = octets.get_mut(count).filter(|_| part.bytes().all(|byte| byte.is_ascii_digit())) else {
                return Err(wrong(found));
            };
            *octet = part.parse().map_err(|_| (at, format!("octet `{part}` of {found} is not 0 to 255")))?;
            count += 1;
        }
        if count < octets_min {
            return Err((at, format!("{found} has {count} of four octets: a part of an address is a `net`")));
        }
        Ok((Ipv4Addr::from(octets).into(), count as u32))
    }

    /// `A/len` or `A mask M`.
    fn network(&mut self) -> Result<Network, Wrong> {
        let (address, octets) = self.address(1)?;
        let at = self.at();
        if self.take(&["mask"]) {
            let at = self.at();
            let (mask, _) = self.address(1)?;
            return Network::masked(address, mask)
                .ok_or((at, "address and mask are both IPv4 or both IPv6".to_owned()));
        }
        if !self.take(&["/"]) {
            return Err((
                at,
                format!("a `net` is ADDRESS/LENGTH or ADDRESS mask MASK: {} cannot follow", self.found()),
            ));
        }
        let (at, found) = (self.at(), self.found());
        let bits = self.next().and_then(parse_number).filter(|&bits| bits <= 128);
        let bits = bits.ok_or_else(|| (at, format!("expected the length of a prefix in bits, and not {found}")))?;
        if bits > octets * 8 {
            return Err((at, format!("a prefix of {bits} bits is longer than the {octets} octets of its address")));
        }
        Network::prefix(address, bits).ok_or((at, "the prefix is longer than an address".to_owned()))
    }

    fn ports(&mut self, side: Side) -> Result<Filter, Wrong> {
        let (at, found) = (self.at(), self.found());
        let word = self.next().unwrap_or_default();
        // Names have hyphens too.
        let ends = word
            .match_indices('-')
            .find_map(|(middle, _)| Some((parse_port(&word[..middle])?, parse_port(&word[middle + 1..])?)));
        match ends {
            Some((first, last)) if first <= last => Ok(Filter::Ports { side, first, last }),
            Some((first, last)) => Err((at, format!("{first} is above {last}: a range begins with its lowest port"))),
            None => Err((at, format!("expected two ports, such as 3260-3269, and not {found}"))),
        }
    }

    fn number(&mut self, quantity: Quantity, what: &str) -> Result<u32, Wrong> {
        let (at, found) = (self.at(), self.found());
        let word = self.next().ok_or_else(|| (at, format!("{what} of {quantity} is missing")))?;
        let value = match quantity {
            Quantity::Port(_) => parse_number(word).or_else(|| parse_port(word).map(u32::from)),
            _ => parse_number(word),
        };
        let max = quantity.max();
        match value {
            Some(value) if value <= max => Ok(value),
            Some(value) => Err((at, format!("{what} of {quantity} is {max} at most, and not {value}"))),
            None if is_negative(word) => Err((at, format!("{found} is negative: {what} of {quantity} is 0 to {max}"))),
            None => Err((at, format!("{what} of {quantity} is a number from 0 to {max}, and not {found}"))),
        }
    }
}

/// What needs no value.
fn fixed(word: &str) -> Option<Filter> {
    match word {
        "all" | "any" | "-" => Some(Filter::Everything),
        _ => OpenKind::from_name(word).map(Filter::Open),
    }
}

fn is_value(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit()) || word.contains(':') || is_negative(word)
}

pub(crate) fn is_negative(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// A number, decimal or with 0x.
pub(crate) fn parse_number(word: &str) -> Option<u32> {
    let (digits, radix) = word.strip_prefix("0x").map_or((word, 10), |digits| (digits, 16));
    // A sign is none of ours.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok())?
}

fn parse_port(word: &str) -> Option<u16> {
    let named = SERVICES.iter().find(|(name, _)| *name == word).map(|&(_, port)| port);
    named.or_else(|| parse_number(word).and_then(|number| number.try_into().ok()))
}

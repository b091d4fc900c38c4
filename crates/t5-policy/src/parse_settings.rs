//! Settings from text.

use crate::lexer::Token;
use crate::parse::{Wrong, is_negative, parse_number};
use crate::settings::{Bind, CLASS_MAX, Congestion, QUEUE_MAX, Settings};

/// Longest segment that can be asked for, in KiB.
const MSS_KIB_MAX: u32 = 64;

/// Reads what stands behind `=>`, up to `end`; tells all that is wrong there.
pub(crate) fn parse_settings(tokens: &[Token<'_>], end: usize, wrong: &mut Vec<Wrong>) -> Option<Settings> {
    let before = wrong.len();
    if tokens.is_empty() {
        wrong.push((end, "settings are missing behind `=>`: `offload` or `!offload` for one".to_owned()));
    }
    let mut reader = Reader { tokens, end, settings: Settings::default(), seen: Vec::new() };
    while !reader.tokens.is_empty() {
        reader.setting().unwrap_or_else(|error| wrong.push(error));
    }
    (wrong.len() == before).then_some(reader.settings)
}

struct Reader<'a, 'b> {
    tokens: &'b [Token<'a>],
    end: usize,
    settings: Settings,
    /// Words that were there.
    seen: Vec<&'static str>,
}

impl<'a> Reader<'a, '_> {
    fn next(&mut self) -> Option<Token<'a>> {
        let (&first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn setting(&mut self) -> Result<(), Wrong> {
        let first = self.next().expect("there is a token");
        let (mut token, mut negations) = (first, 0);
        while matches!(token.text, "not" | "!") {
            negations += 1;
            let missing = || (self.end, format!("`{}` of what? A setting is missing behind it", first.text));
            token = self.tokens.first().copied().ok_or_else(missing)?;
            self.next();
        }
        // Two negations are none.
        let value = negations % 2 == 0;
        let settings = &mut self.settings;
        let switch = match token.text {
            "offload" => {
                settings.offload = value;
                return self.once("offload", token);
            }
            "ddp" => Some(("ddp", &mut settings.ddp)),
            "tstamp" | "timestamp" => Some(("tstamp", &mut settings.timestamps)),
            "coalesce" => Some(("coalesce", &mut settings.coalesce)),
            "sack" => Some(("sack", &mut settings.sack)),
            "nagle" => Some(("nagle", &mut settings.nagle)),
            "tls" => Some(("tls", &mut settings.tls)),
            _ => None,
        };
        if let Some((word, place)) = switch {
            *place = Some(value);
            return self.once(word, token);
        }
        let negated = negations > 0;
        match token.text {
            "bind" => self.valued("bind", token, negated, Self::bind),
            "class" => self.valued("class", token, negated, Self::class),
            "cong" => self.valued("cong", token, negated, Self::congestion),
            "mss" => self.valued("mss", token, negated, Self::mss),
            other => {
                let known = "offload, ddp, tstamp, coalesce, sack, nagle, tls, bind, class, cong and mss";
                Err((token.at, format!("`{other}` is no setting: there are {known}")))
            }
        }
    }

    /// Notes a setting; it stands in a rule once.
    fn once(&mut self, word: &'static str, token: Token<'_>) -> Result<(), Wrong> {
        if self.seen.contains(&word) {
            return Err((token.at, format!("`{word}` stands in this rule twice")));
        }
        self.seen.push(word);
        Ok(())
    }

    /// A setting with a value, which is taken even if the setting is wrong, so that it is not told as another error.
    fn valued(
        &mut self,
        word: &'static str,
        token: Token<'a>,
        negated: bool,
        set: impl FnOnce(&mut Settings, &str) -> Result<(), String>,
    ) -> Result<(), Wrong> {
        let value = self.next().ok_or_else(|| (self.end, format!("the value of `{word}` is missing")))?;
        if negated {
            return Err((token.at, format!("`{word}` has a value and no opposite: leave the `not` out")));
        }
        self.once(word, token)?;
        set(&mut self.settings, value.text).map_err(|text| (value.at, text))
    }

    fn bind(settings: &mut Settings, value: &str) -> Result<(), String> {
        settings.bind = match value {
            "random" => Bind::Random,
            "cpu" => Bind::Cpu,
            _ => Bind::Queue(number("bind", "random, cpu or a queue", value, 0..=QUEUE_MAX.into())? as u16),
        };
        Ok(())
    }

    fn class(settings: &mut Settings, value: &str) -> Result<(), String> {
        settings.class = Some(number("class", "a class", value, 0..=CLASS_MAX.into())? as u8);
        Ok(())
    }

    fn congestion(settings: &mut Settings, value: &str) -> Result<(), String> {
        let known = Congestion::ALL.into_iter().find(|congestion| congestion.name() == value);
        let expected = || format!("`cong` is reno, tahoe, newreno or highspeed, and not `{value}`");
        settings.congestion = Some(known.ok_or_else(expected)?);
        Ok(())
    }

    fn mss(settings: &mut Settings, value: &str) -> Result<(), String> {
        settings.mss_kib = Some(number("mss", "a length in KiB", value, 1..=MSS_KIB_MAX)? as u16);
        Ok(())
    }
}

fn number(word: &str, expected: &str, value: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, String> {
    let is = if is_negative(value) { " is negative" } else { "" };
    let (first, last) = (range.start(), range.end());
    parse_number(value)
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("`{value}`{is}: `{word}` is {expected} from {first} to {last}"))
}

//! The kinds of value that keys have: what each may be, how it is read and how it is written.

use iscsi_session::{Credential, Secret, normalise_name};
use std::fmt;

/// Most bytes of a CHAP name.
const CHAP_NAME_BYTES_MAX: usize = 255;

/// What stands behind a key.
pub(crate) trait Value {
    /// Whether the key may be there several times.
    const REPEATS: bool = false;
    /// Whether nobody else may see it.
    const SECRET: bool = false;

    /// What may stand there, as the end of "expected ...".
    fn expected() -> String;

    /// Takes a text; `first` says that the key was not there before, so that what held without it is forgotten.
    ///
    /// # Errors
    /// It is not [what was expected](Self::expected), or worse for a reason of its own.
    fn read(&mut self, text: &str, first: bool) -> Result<(), Option<String>>;

    /// The texts, one a line, that read back as this.
    fn write(&self) -> Vec<String>;
}

/// Sets a value that stands for itself.
fn set<V>(place: &mut V, value: Option<V>) -> Result<(), Option<String>> {
    *place = value.ok_or(None)?;
    Ok(())
}

impl Value for bool {
    fn expected() -> String {
        "Yes or No".into()
    }

    fn read(&mut self, text: &str, _: bool) -> Result<(), Option<String>> {
        let value = match text {
            "Yes" => Some(true),
            "No" => Some(false),
            _ => None,
        };
        set(self, value)
    }

    fn write(&self) -> Vec<String> {
        vec![if *self { "Yes" } else { "No" }.into()]
    }
}

/// A value of a key that has no other: No.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed;

impl Value for Fixed {
    fn expected() -> String {
        "No, since RFC 7143 has no markers any more".into()
    }

    fn read(&mut self, text: &str, _: bool) -> Result<(), Option<String>> {
        set(self, (text == "No").then_some(Self))
    }

    fn write(&self) -> Vec<String> {
        vec!["No".into()]
    }
}

/// A number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ranged<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Ranged<MIN, MAX> {
    /// `number`, if it is in the range.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number >= MIN && number <= MAX { Some(Self(number)) } else { None }
    }

    /// A number that is known to be in the range.
    pub(crate) const fn of(number: u32) -> Self {
        Self::new(number).expect("a number of ours is in its range")
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> Value for Ranged<MIN, MAX> {
    fn expected() -> String {
        format!("a number from {MIN} to {MAX}")
    }

    fn read(&mut self, text: &str, _: bool) -> Result<(), Option<String>> {
        set(self, number(text).and_then(Self::new))
    }

    fn write(&self) -> Vec<String> {
        vec![self.0.to_string()]
    }
}

/// A number of digits alone.
pub(crate) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A text of at most `MAX` bytes without control characters; empty if it was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// `text`, if it can stand in a file.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=MAX).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    pub(crate) fn of(text: &str) -> Self {
        Self::new(text).expect("a text of ours fits")
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Value for Text<MAX> {
    fn expected() -> String {
        format!("a text of 1 to {MAX} bytes")
    }

    fn read(&mut self, text: &str, _: bool) -> Result<(), Option<String>> {
        set(self, Self::new(text))
    }

    fn write(&self) -> Vec<String> {
        if self.0.is_empty() { Vec::new() } else { vec![self.0.clone()] }
    }
}

/// An iSCSI name in its normal form; empty only in a value that no file has given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The normal form of a name.
    ///
    /// # Errors
    /// What keeps the text from being one.
    pub fn new(name: &str) -> Result<Self, iscsi_session::NameError> {
        normalise_name(name).map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Value for Name {
    fn expected() -> String {
        "an iSCSI name, such as iqn.2004-05.com.example:disk".into()
    }

    fn read(&mut self, text: &str, _: bool) -> Result<(), Option<String>> {
        *self = Self::new(text).map_err(|error| Some(error.to_string()))?;
        Ok(())
    }

    fn write(&self) -> Vec<String> {
        if self.0.is_empty() { Vec::new() } else { vec![self.0.clone()] }
    }
}

/// A value that is one of a few words.
pub(crate) trait Choice: Sized + Copy + PartialEq + 'static {
    const ALL: &'static [(Self, &'static str)];

    fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, word)| *word == text).map(|(value, _)| *value)
    }

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(value, _)| *value == self).map_or("", |(_, word)| word)
    }

    fn words() -> String {
        let words: Vec<&str> = Self::ALL.iter().map(|(_, word)| *word).collect();
        words.join(" or ")
    }
}

/// Makes an enumeration of the words that a key may have.
macro_rules! choices {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $crate::value::Choice for $name {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $word),)*];
        }

        impl $crate::value::Value for $name {
            fn expected() -> String {
                <Self as $crate::value::Choice>::words()
            }

            fn read(&mut self, text: &str, _: bool) -> Result<(), Option<String>> {
                *self = $crate::value::Choice::of(text).ok_or(None)?;
                Ok(())
            }

            fn write(&self) -> Vec<String> {
                vec![$crate::value::Choice::word(*self).into()]
            }
        }
    };
}
pub(crate) use choices;

choices! {
    /// Whether one side proves who it is, or both.
    ChapPolicy {
        /// The initiator proves who it is.
        Oneway = "Oneway",
        /// The target does so as well.
        Mutual = "Mutual",
    }
}

choices! {
    /// A digest of headers or data.
    Digest {
        /// None.
        None = "None",
        /// CRC32C.
        Crc32c = "CRC32C",
    }
}

choices! {
    /// How an initiator proves who it is.
    AuthMethod {
        /// Not at all.
        None = "None",
        /// CHAP.
        Chap = "CHAP",
    }
}

/// Words in the order of preference, with commas between or in lines of their own.
impl<C: Choice> Value for Vec<C> {
    const REPEATS: bool = true;

    fn expected() -> String {
        format!("a list of {}, each once", C::words())
    }

    fn read(&mut self, text: &str, first: bool) -> Result<(), Option<String>> {
        if first {
            self.clear();
        }
        for word in text.split(',') {
            let choice = C::of(word.trim()).filter(|choice| !self.contains(choice)).ok_or(None)?;
            self.push(choice);
        }
        Ok(())
    }

    fn write(&self) -> Vec<String> {
        let words: Vec<&str> = self.iter().map(|choice| choice.word()).collect();
        vec![words.join(",")]
    }
}

const CREDENTIAL: &str =
    "\"id\":\"secret\", an id of 1 to 255 bytes without '\"' and a secret of 12 to 255, neither with commas";

fn credential(text: &str) -> Result<Credential, Option<String>> {
    let (name, secret) = text
        .trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .and_then(|text| text.split_once("\":\""))
        .filter(|(name, _)| (1..=CHAP_NAME_BYTES_MAX).contains(&name.len()))
        .filter(|(name, secret)| {
            !name.contains(['"', ',']) && !name.chars().any(char::is_control) && !secret.contains(',')
        })
        .ok_or(None)?;
    let secret = Secret::new(secret).map_err(|error| Some(error.to_string()))?;
    Ok(Credential { name: name.into(), secret })
}

/// The text of a user and the secret.
fn credential_text(credential: &Credential) -> String {
    format!("\"{}\":\"{}\"", credential.name, String::from_utf8_lossy(credential.secret.reveal()))
}

/// Users and their secrets, with commas between or in lines of their own.
impl Value for Vec<Credential> {
    const REPEATS: bool = true;
    const SECRET: bool = true;

    fn expected() -> String {
        CREDENTIAL.into()
    }

    fn read(&mut self, text: &str, first: bool) -> Result<(), Option<String>> {
        if first {
            self.clear();
        }
        for text in text.split(',') {
            let credential = credential(text)?;
            if self.iter().any(|other| other.name == credential.name) {
                return Err(Some("an id stands there twice".into()));
            }
            self.push(credential);
        }
        Ok(())
    }

    fn write(&self) -> Vec<String> {
        self.iter().map(credential_text).collect()
    }
}

impl Value for Option<Credential> {
    const SECRET: bool = true;

    fn expected() -> String {
        CREDENTIAL.into()
    }

    fn read(&mut self, text: &str, _: bool) -> Result<(), Option<String>> {
        *self = Some(credential(text)?);
        Ok(())
    }

    fn write(&self) -> Vec<String> {
        self.iter().map(credential_text).collect()
    }
}

/// A thing that a line of its own says; the key repeats for several.
pub(crate) trait Entry: Sized + fmt::Display {
    const EXPECTED: &'static str;

    /// What a text says.
    ///
    /// # Errors
    /// As for [`Value::read`].
    fn parse(text: &str) -> Result<Self, Option<String>>;
}

/// The things that lines say. (A blanket implementation for `Vec` would meet that of words.)
macro_rules! entries {
    ($entry:ty) => {
        impl $crate::value::Value for Vec<$entry> {
            const REPEATS: bool = true;

            fn expected() -> String {
                <$entry as $crate::value::Entry>::EXPECTED.into()
            }

            fn read(&mut self, text: &str, _: bool) -> Result<(), Option<String>> {
                self.push(<$entry as $crate::value::Entry>::parse(text)?);
                Ok(())
            }

            fn write(&self) -> Vec<String> {
                self.iter().map(ToString::to_string).collect()
            }
        }
    };
}
pub(crate) use entries;

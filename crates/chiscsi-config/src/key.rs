//! The table of a block's keys: how each is spelled, read and printed, and what a change of it asks for.

use crate::fault::repeated;
use crate::value::Value;

/// What a running target makes of a key that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It holds at once.
    AtOnce,
    /// It holds for logins from then on.
    NewLogins,
    /// It cannot change as long as the target runs.
    Never,
}

/// What there is to know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// How it is spelled; letters count as they are.
    pub name: &'static str,
    /// What may stand behind it.
    pub expected: String,
    /// What holds if it is not given, as it would stand in a file, line by line.
    pub default: Vec<String>,
    /// What a change of it asks for.
    pub reload: Reload,
}

/// A key of the block `B`.
pub(crate) struct Key<B> {
    pub(crate) name: &'static str,
    pub(crate) reload: Reload,
    pub(crate) repeats: bool,
    pub(crate) secret: bool,
    expected: fn() -> String,
    read: fn(&mut B, &str, bool) -> Result<(), Option<String>>,
    write: fn(&B) -> Vec<String>,
}

impl<B> Key<B> {
    /// The key called `name` whose value is the field that `get` and `get_mut` give.
    pub(crate) const fn new<V: Value>(name: &'static str, reload: Reload, access: Access<B>) -> Self {
        Self {
            name,
            reload,
            repeats: V::REPEATS,
            secret: V::SECRET,
            expected: V::expected,
            read: access.read,
            write: access.write,
        }
    }

    /// Takes what stands behind the key; `first` says that the key was not there before.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn read(&self, block: &mut B, text: &str, first: bool) -> Result<(), String> {
        (self.read)(block, text, first).map_err(|reason| {
            let found = if self.secret { String::new() } else { format!(", found {}", repeated(text)) };
            match reason {
                Some(reason) => format!("{}: {reason}", self.name),
                None => format!("{}: expected {}{found}", self.name, (self.expected)()),
            }
        })
    }

    fn info(&self) -> KeyInfo
    where
        B: Default,
    {
        let (name, reload) = (self.name, self.reload);
        KeyInfo { name, expected: (self.expected)(), default: (self.write)(&B::default()), reload }
    }
}

/// How the field of a key is reached; made by [`field!`].
pub(crate) struct Access<B> {
    pub(crate) read: fn(&mut B, &str, bool) -> Result<(), Option<String>>,
    pub(crate) write: fn(&B) -> Vec<String>,
}

/// A row of the table of keys: `field!("InitialR2T", NewLogins, initial_r2t: bool)`.
macro_rules! field {
    ($name:literal, $reload:ident, $field:ident: $value:ty) => {
        $crate::key::Key::new::<$value>(
            $name,
            $crate::key::Reload::$reload,
            $crate::key::Access {
                read: |block, text, first| $crate::value::Value::read(&mut block.$field, text, first),
                write: |block| $crate::value::Value::write(&block.$field),
            },
        )
    };
}
pub(crate) use field;

/// What there is to know of each key of a block.
pub(crate) fn infos<B: Default>(keys: &[Key<B>]) -> Vec<KeyInfo> {
    keys.iter().map(Key::info).collect()
}

/// The keys by which two blocks differ.
pub(crate) fn changes<B: Default>(old: &B, new: &B, keys: &[Key<B>]) -> Vec<KeyInfo> {
    keys.iter().filter(|key| (key.write)(old) != (key.write)(new)).map(Key::info).collect()
}

/// What stands in place of a secret that is not shown.
pub const HIDDEN: &str = "***";

/// What each key of a block holds, in a line each, without secrets: of a user and the secret only the user is told.
pub(crate) fn shown<B>(block: &B, keys: &[Key<B>]) -> Vec<(&'static str, Vec<String>)> {
    let hide = |text: String| {
        let user = text.split_once("\":\"").map_or("\"", |(user, _)| user);
        format!("{user}\":\"{HIDDEN}\"")
    };
    let values = |key: &Key<B>| {
        let lines = (key.write)(block).into_iter();
        if key.secret { lines.map(hide).collect() } else { lines.collect() }
    };
    keys.iter().map(|key| (key.name, values(key))).collect()
}

/// The text of a block: the keys whose values are not those that hold without them.
pub(crate) fn block<B: Default>(name: &str, block: &B, keys: &[Key<B>]) -> String {
    let default = B::default();
    let mut text = format!("{name}:\n");
    for key in keys {
        let lines = (key.write)(block);
        if lines != (key.write)(&default) {
            lines.iter().for_each(|line| text.extend(["    ", key.name, "=", line, "\n"]));
        }
    }
    text
}

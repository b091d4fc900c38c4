//! What a rule says of the connections that it matches.

use std::fmt;

/// Highest scheduling class of a T5.
pub const CLASS_MAX: u8 = 14;
/// Highest number of a queue: messages name one by 10 bits.
pub const QUEUE_MAX: u16 = 1023;

/// Which queue a connection gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bind {
    /// Any.
    #[default]
    Random,
    /// That of the processor on which it is opened.
    Cpu,
    /// That one.
    Queue(u16),
}

/// How TCP reacts to congestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// `reno`.
    Reno,
    /// `tahoe`.
    Tahoe,
    /// `newreno`.
    NewReno,
    /// `highspeed`.
    HighSpeed,
}

impl Congestion {
    /// All of them, by their number on the wire.
    pub const ALL: [Self; 4] = [Self::Reno, Self::Tahoe, Self::NewReno, Self::HighSpeed];

    /// Its word in a policy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reno => "reno",
            Self::Tahoe => "tahoe",
            Self::NewReno => "newreno",
            Self::HighSpeed => "highspeed",
        }
    }
}

/// The settings of a rule. What is `None` is left to the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Whether the adapter takes the connection. If not, the rest says nothing.
    pub offload: bool,
    /// Direct placement of data.
    pub ddp: Option<bool>,
    /// TCP timestamps. A T5 does not have them by rule.
    pub timestamps: Option<bool>,
    /// Joining of received segments.
    pub coalesce: Option<bool>,
    /// Selective acknowledgements. A T5 does not have them by rule.
    pub sack: Option<bool>,
    /// Nagle's algorithm.
    pub nagle: Option<bool>,
    /// TLS. A T5 does not have it.
    pub tls: Option<bool>,
    /// The queue.
    pub bind: Bind,
    /// The scheduling class, up to [`CLASS_MAX`].
    pub class: Option<u8>,
    /// Congestion control.
    pub congestion: Option<Congestion>,
    /// Longest segment, in KiB, from 1 to 64.
    pub mss_kib: Option<u16>,
}

impl Settings {
    /// What these settings ask of an adapter that a T5 cannot do by rule, by its word.
    #[must_use]
    pub fn beyond_t5(&self) -> Option<&'static str> {
        let asked = [("tstamp", self.timestamps), ("sack", self.sack), ("tls", self.tls)];
        asked.into_iter().find(|(_, value)| *value == Some(true)).map(|(word, _)| word)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.offload { "offload" } else { "!offload" })?;
        let switches = [
            ("ddp", self.ddp),
            ("tstamp", self.timestamps),
            ("coalesce", self.coalesce),
            ("sack", self.sack),
            ("nagle", self.nagle),
            ("tls", self.tls),
        ];
        for (word, value) in switches {
            if let Some(value) = value {
                write!(formatter, " {}{word}", if value { "" } else { "!" })?;
            }
        }
        match self.bind {
            Bind::Random if self.offload => formatter.write_str(" bind random")?,
            Bind::Random => {}
            Bind::Cpu => formatter.write_str(" bind cpu")?,
            Bind::Queue(queue) => write!(formatter, " bind {queue}")?,
        }
        if let Some(class) = self.class {
            write!(formatter, " class {class}")?;
        }
        if let Some(congestion) = self.congestion {
            write!(formatter, " cong {}", congestion.name())?;
        }
        if let Some(mss) = self.mss_kib {
            write!(formatter, " mss {mss}")?;
        }
        Ok(())
    }
}

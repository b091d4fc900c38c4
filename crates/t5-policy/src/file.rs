//! Compiled policies as files.
//!
//! All numbers are big-endian, as in the adapter's messages.
//!
//! ```text
//!   header    6 u32: version 1; 1 if texts follow; rules; steps; u32s of the program; settings
//!   program   1 u32: target to begin with
//!             per step u32s: word, mask, target of yes, target of no, number of values, values
//!             a target is the index of a step, or with the highest bit set of settings
//!   settings  16 bytes each: offload u8, ddp i8, rx_coalesce i8, cong_algo i8, bind_q i32, sched_class i16, tstamp i8, sack i8,
//!             tls i8, nagle i8, mss u16; -1 is unset; of bind_q -2 is random and -3 cpu
//!   texts     per rule: u32 length, UTF-8
//! ```

use crate::compile::STEPS_MAX;
use crate::error::FileError;
use crate::program::{Program, Step, Target};
use crate::settings::{Bind, CLASS_MAX, Congestion, QUEUE_MAX, Settings};
use zerocopy::big_endian::{I16, I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Longest file of a compiled policy, in bytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;

const VERSION: u32 = 1;
/// Of a target that is a rule.
const RULE: u32 = 1 << 31;
const BIND_RANDOM: i32 = -2;
const BIND_CPU: i32 = -3;
const UNSET_MSS: u16 = u16::MAX;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    version: U32,
    has_texts: U32,
    rules: U32,
    steps: U32,
    program_words: U32,
    settings: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileSettings {
    offload: u8,
    ddp: i8,
    rx_coalesce: i8,
    cong_algo: i8,
    bind_q: I32,
    sched_class: I16,
    tstamp: i8,
    sack: i8,
    tls: i8,
    nagle: i8,
    mss: U16,
}

const _: () = assert!(size_of::<Header>() == 24 && size_of::<FileSettings>() == 16, "no padding");

impl Program {
    /// The program as a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut words = vec![target_word(self.start)];
        for step in &self.steps {
            words.extend([step.word.into(), step.mask, target_word(step.yes), target_word(step.no)]);
            words.push(step.values.len() as u32);
            words.extend(&step.values);
        }
        let header = Header {
            version: VERSION.into(),
            has_texts: u32::from(self.texts.is_some()).into(),
            rules: (self.rule_count() as u32).into(),
            steps: (self.steps.len() as u32).into(),
            program_words: (words.len() as u32).into(),
            settings: (self.settings.len() as u32).into(),
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(words.into_iter().flat_map(u32::to_be_bytes));
        self.settings.iter().for_each(|settings| bytes.extend(FileSettings::from(settings).as_bytes()));
        for text in self.texts.iter().flatten() {
            bytes.extend((text.len() as u32).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    /// Reads a file, whoever wrote it.
    ///
    /// # Errors
    /// It is no compiled policy.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(FileError { what: "more than 16 MiB", offset: FILE_BYTES_MAX });
        }
        let mut reader = Reader { all: bytes, rest: bytes };
        let header: Header = reader.take("no header of six numbers")?;
        if header.version.get() != VERSION {
            return Err(FileError { what: "a version that is not 1", offset: 0 });
        }
        let (rules, step_count) = (header.rules.get() as usize, header.steps.get() as usize);
        if header.settings.get() as usize != rules + 1 || header.has_texts.get() > 1 || step_count > STEPS_MAX {
            return Err(FileError { what: "numbers that do not fit each other", offset: 4 });
        }
        let program_at = reader.offset();
        let start = reader.target()?;
        // What is reserved is no more than what is there, whatever the header says.
        let mut steps = Vec::with_capacity(step_count.min(reader.rest.len() / 24));
        for _ in 0..step_count {
            steps.push(reader.step()?);
        }
        if (reader.offset() - program_at) / 4 != header.program_words.get() as usize {
            return Err(FileError { what: "a program of another length than said", offset: 16 });
        }
        let settings = (0..=rules).map(|_| reader.settings()).collect::<Result<Vec<_>, _>>()?;
        if settings.last() != Some(&Settings::default()) {
            return Err(FileError { what: "last settings that are not `!offload`", offset: reader.offset() - 16 });
        }
        let has_texts = header.has_texts.get() == 1;
        let texts = has_texts.then(|| (0..rules).map(|_| reader.text()).collect()).transpose()?;
        if !reader.rest.is_empty() {
            return Err(FileError { what: "something behind the end", offset: reader.offset() });
        }
        let program = Self { settings, texts, start, steps };
        program.check().map_err(|(_, what)| FileError { what, offset: program_at })?;
        Ok(program)
    }
}

struct Reader<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn offset(&self) -> usize {
        self.all.len() - self.rest.len()
    }

    fn wrong<T>(&self, what: &'static str) -> Result<T, FileError> {
        Err(FileError { what, offset: self.offset() })
    }

    fn take<T: FromBytes>(&mut self, what: &'static str) -> Result<T, FileError> {
        let Ok((value, rest)) = T::read_from_prefix(self.rest) else { return self.wrong(what) };
        self.rest = rest;
        Ok(value)
    }

    fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], FileError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else { return self.wrong(what) };
        self.rest = rest;
        Ok(bytes)
    }

    fn word(&mut self) -> Result<u32, FileError> {
        self.take::<U32>("the end inside the program").map(U32::get)
    }

    fn target(&mut self) -> Result<Target, FileError> {
        let word = self.word()?;
        Ok(if word & RULE == 0 { Target::Step(word) } else { Target::Rule(word & !RULE) })
    }

    fn step(&mut self) -> Result<Step, FileError> {
        let Ok(word) = u8::try_from(self.word()?) else { return self.wrong("a step that looks at no word") };
        let (mask, yes, no) = (self.word()?, self.target()?, self.target()?);
        let count = self.word()? as usize;
        let values = self.bytes(count.saturating_mul(4), "the end inside the values of a step")?;
        let values = values.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
        Ok(Step { word, mask, values: values.collect(), yes, no })
    }

    fn settings(&mut self) -> Result<Settings, FileError> {
        let at = self.offset();
        let settings = self.take::<FileSettings>("the end inside the settings")?;
        Settings::try_from(settings).map_err(|what| FileError { what, offset: at })
    }

    /// The text of a rule, in which nothing is that would upset a terminal.
    fn text(&mut self) -> Result<String, FileError> {
        let length = self.take::<U32>("the end inside the texts")?.get() as usize;
        let bytes = self.bytes(length, "the end inside a text")?;
        let text = str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control));
        text.map_or_else(|| self.wrong("a text with what cannot be printed"), |text| Ok(text.to_owned()))
    }
}

fn target_word(target: Target) -> u32 {
    match target {
        Target::Step(step) => step,
        Target::Rule(rule) => rule | RULE,
    }
}

fn switch_byte(value: Option<bool>) -> i8 {
    value.map_or(-1, i8::from)
}

fn switch(byte: i8) -> Result<Option<bool>, &'static str> {
    match byte {
        -1 => Ok(None),
        0 | 1 => Ok(Some(byte == 1)),
        _ => Err("a setting that is none of 1, 0 and -1"),
    }
}

impl From<&Settings> for FileSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            offload: settings.offload.into(),
            ddp: switch_byte(settings.ddp),
            rx_coalesce: switch_byte(settings.coalesce),
            cong_algo: settings.congestion.map_or(-1, |congestion| congestion as i8),
            bind_q: match settings.bind {
                Bind::Random => BIND_RANDOM,
                Bind::Cpu => BIND_CPU,
                Bind::Queue(queue) => queue.into(),
            }
            .into(),
            sched_class: settings.class.map_or(-1, i16::from).into(),
            tstamp: switch_byte(settings.timestamps),
            sack: switch_byte(settings.sack),
            tls: switch_byte(settings.tls),
            nagle: switch_byte(settings.nagle),
            mss: settings.mss_kib.unwrap_or(UNSET_MSS).into(),
        }
    }
}

impl TryFrom<FileSettings> for Settings {
    type Error = &'static str;

    fn try_from(file: FileSettings) -> Result<Self, Self::Error> {
        let bind = match file.bind_q.get() {
            BIND_RANDOM => Bind::Random,
            BIND_CPU => Bind::Cpu,
            queue => match u16::try_from(queue) {
                Ok(queue) if queue <= QUEUE_MAX => Bind::Queue(queue),
                _ => return Err("a queue that is not 0 to 1023"),
            },
        };
        let class = match file.sched_class.get() {
            -1 => None,
            class => match u8::try_from(class) {
                Ok(class) if class <= CLASS_MAX => Some(class),
                _ => return Err("a class that is not 0 to 14"),
            },
        };
        let congestion = match file.cong_algo {
            -1 => None,
            algorithm => match usize::try_from(algorithm).ok().and_then(|at| Congestion::ALL.get(at)) {
                Some(&congestion) => Some(congestion),
                None => return Err("a congestion control that there is not"),
            },
        };
        let mss_kib = match file.mss.get() {
            UNSET_MSS => None,
            mss @ 1..=64 => Some(mss),
            _ => return Err("a segment size that is not 1 to 64"),
        };
        Ok(Self {
            offload: match file.offload {
                0 => false,
                1 => true,
                _ => return Err("an offload that is neither 0 nor 1"),
            },
            ddp: switch(file.ddp)?,
            timestamps: switch(file.tstamp)?,
            coalesce: switch(file.rx_coalesce)?,
            sack: switch(file.sack)?,
            nagle: switch(file.nagle)?,
            tls: switch(file.tls)?,
            bind,
            class,
            congestion,
            mss_kib,
        })
    }
}

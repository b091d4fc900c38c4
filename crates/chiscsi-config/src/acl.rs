//! Who may do what: `ACL=[iname=NAME,...][;sip=ADDRESS,...][;dip=ADDRESS,...][;lun=LUNS:RIGHT,...]`.

use crate::value::{Entry, Name, entries, number};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Logical unit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LunRange {
    /// All of them.
    All,
    /// From the first to the second.
    Range(u16, u16),
}

/// What may be done with logical units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LunRight {
    /// Which.
    pub luns: LunRange,
    /// Whether they may be written to as well as read.
    pub write: bool,
}

/// A rule of the access control list: whom it is about, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Names of initiators; empty for all.
    pub initiators: Vec<Name>,
    /// Addresses from which they come; empty for all.
    pub sources: Vec<IpAddr>,
    /// Addresses of the target to which they come; empty for all.
    pub destinations: Vec<IpAddr>,
    /// What they may do: the first that names a unit holds.
    pub luns: Vec<LunRight>,
}

const READ_AND_WRITE_ALL: LunRight = LunRight { luns: LunRange::All, write: true };

impl Entry for Acl {
    const EXPECTED: &'static str = "[iname=NAME,...][;sip=ADDRESS,...][;dip=ADDRESS,...][;lun=LUNS:RIGHT,...], at least one of the first three, LUNS \
                                    as ALL, 3 or 0~3, RIGHT as R or RW";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let mut acl = Self { initiators: Vec::new(), sources: Vec::new(), destinations: Vec::new(), luns: Vec::new() };
        for part in text.split(';') {
            match part.trim().split_once('=').ok_or(None)? {
                ("iname", names) => fill(&mut acl.initiators, names, parse_name)?,
                ("sip", addresses) => fill(&mut acl.sources, addresses, parse)?,
                ("dip", addresses) => fill(&mut acl.destinations, addresses, parse)?,
                ("lun", luns) => fill(&mut acl.luns, luns, parse)?,
                _ => return Err(None),
            }
        }
        if acl.initiators.is_empty() && acl.sources.is_empty() && acl.destinations.is_empty() {
            return Err(None);
        }
        if acl.luns.is_empty() {
            acl.luns.push(READ_AND_WRITE_ALL);
        }
        Ok(acl)
    }
}

/// Reads a list that has not been there yet.
fn fill<V>(list: &mut Vec<V>, text: &str, parse: fn(&str) -> Result<V, Option<String>>) -> Result<(), Option<String>> {
    if !list.is_empty() {
        return Err(None);
    }
    *list = text.split(',').map(|word| parse(word.trim())).collect::<Result<_, _>>()?;
    Ok(())
}

fn parse<V: FromStr>(text: &str) -> Result<V, Option<String>> {
    text.parse().map_err(|_| None)
}

fn parse_name(text: &str) -> Result<Name, Option<String>> {
    Name::new(text).map_err(|error| Some(error.to_string()))
}

impl FromStr for LunRight {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (luns, right) = text.split_once(':').ok_or(())?;
        let write = match right {
            "R" => false,
            "RW" | "WR" => true,
            _ => return Err(()),
        };
        let luns = match luns.split_once('~') {
            _ if luns == "ALL" => LunRange::All,
            None => number(luns).map(|number| LunRange::Range(number, number)).ok_or(())?,
            Some((first, last)) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => LunRange::Range(first, last),
                _ => return Err(()),
            },
        };
        Ok(Self { luns, write })
    }
}

impl fmt::Display for LunRight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.luns {
            LunRange::All => formatter.write_str("ALL")?,
            LunRange::Range(first, last) if first == last => write!(formatter, "{first}")?,
            LunRange::Range(first, last) => write!(formatter, "{first}~{last}")?,
        }
        formatter.write_str(if self.write { ":RW" } else { ":R" })
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            part("iname", &self.initiators),
            part("sip", &self.sources),
            part("dip", &self.destinations),
            part("lun", &self.luns),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        formatter.write_str(&parts.join(";"))
    }
}

fn part<V: fmt::Display>(key: &str, list: &[V]) -> Option<String> {
    let words: Vec<String> = list.iter().map(V::to_string).collect();
    (!words.is_empty()).then(|| format!("{key}={}", words.join(",")))
}

entries!(Acl);

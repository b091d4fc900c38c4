//! Policies as text, which reads back as the same policy.

use crate::filter::{Filter, Network, Policy, Quantity, Relation, Rule, Side};
use std::fmt::{Display, Formatter, Result};

impl Display for Policy {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        self.rules.iter().try_for_each(|rule| writeln!(formatter, "{rule}"))
    }
}

impl Display for Rule {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{} => {}", self.filter, self.settings)
    }
}

impl Display for Side {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::Source => "src ",
            Self::Destination => "dst ",
            Self::Either => "",
            Self::Both => "src and dst ",
        })
    }
}

impl Display for Relation {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        })
    }
}

impl Display for Quantity {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Port(side) => write!(formatter, "{side}port"),
            Self::Version => formatter.write_str("vers"),
            Self::TypeOfService => formatter.write_str("tos"),
            Self::Dscp => formatter.write_str("dscp"),
            Self::Vlan => formatter.write_str("vlan"),
            Self::Mark => formatter.write_str("mark"),
        }
    }
}

/// `host A`, `net A/len` or `net A mask M`, with the relation in front of the address.
fn print_network(formatter: &mut Formatter<'_>, negated: bool, network: &Network) -> Result {
    let relation = if negated { "!= " } else { "" };
    match network.prefix_bits() {
        _ if network.is_host() => write!(formatter, "host {relation}{}", network.address()),
        Some(bits) => write!(formatter, "net {relation}{}/{bits}", network.address()),
        None => write!(formatter, "net {relation}{} mask {}", network.address(), network.mask()),
    }
}

/// How tightly a filter binds.
fn strength(filter: &Filter) -> u8 {
    match filter {
        Filter::Choose(_) => 0,
        Filter::Any(_) => 1,
        Filter::All(_) => 2,
        Filter::Not(_) => 3,
        _ => 4,
    }
}

/// Prints a part of a filter, in parentheses unless it binds at least so tightly.
struct Part<'a>(&'a Filter, u8);

impl Display for Part<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let Self(filter, least) = *self;
        if strength(filter) >= least { write!(formatter, "{filter}") } else { write!(formatter, "({filter})") }
    }
}

fn print_list(formatter: &mut Formatter<'_>, filters: &[Filter], word: &str, least: u8) -> Result {
    for (at, filter) in filters.iter().enumerate() {
        write!(formatter, "{}{}", if at == 0 { "" } else { word }, Part(filter, least))?;
    }
    Ok(())
}

impl Display for Filter {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Everything => formatter.write_str("any"),
            Self::Open(kind) => write!(formatter, "{kind}"),
            Self::Address { side, negated, network } => {
                write!(formatter, "{side}")?;
                print_network(formatter, *negated, network)
            }
            Self::Number { quantity, mask: None, relation: Relation::Equal, value } => {
                write!(formatter, "{quantity} {value}")
            }
            Self::Number { quantity, mask: None, relation, value } => {
                write!(formatter, "{quantity} {relation} {value}")
            }
            Self::Number { quantity, mask: Some(mask), relation, value } => {
                write!(formatter, "{quantity} & {mask:#x} {relation} {value:#x}")
            }
            Self::Ports { side, first, last } => write!(formatter, "{side}portrange {first}-{last}"),
            Self::Not(filter) => write!(formatter, "not {}", Part(filter, 3)),
            Self::All(filters) => print_list(formatter, filters, " and ", 3),
            Self::Any(filters) => print_list(formatter, filters, " or ", 2),
            Self::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                write!(formatter, "{} ? {then} : {otherwise}", Part(condition, 1))
            }
        }
    }
}

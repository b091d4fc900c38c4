//! The text keys of a login: one table (RFC 7143 sections 12 and 13; iSCSIProtocolLevel is RFC 7144's).

/// How a key gets its value, with the default of section 13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A step of the authentication exchange (section 12.1).
    Step,
    /// One end says it, the other listens.
    Declared,
    /// The same, a number.
    DeclaredNumber(Numbers),
    /// A boolean: Yes if both say so.
    And(bool),
    /// A boolean: Yes if one says so.
    Or(bool),
    /// The lower of two numbers.
    Minimum(Numbers),
    /// The higher of two numbers.
    Maximum(Numbers),
    /// The first word of a list that the other end takes.
    List(&'static str),
    /// RFC 7143 13.25-1, 13.25-2, 13.25-3, 13.25-4: answered with Reject.
    Obsolete,
}

/// The numbers that a key may have, and its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) default: u32,
    pub(crate) low: u32,
    pub(crate) high: u32,
}

const fn numbers(default: u32, low: u32, high: u32) -> Numbers {
    Numbers { default, low, high }
}

/// The highest number of the keys that count bytes: 2^24 - 1.
const BYTES_MAX: u32 = (1 << 24) - 1;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Initiator,
    Target,
}

/// Which end may send a key during the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Initiator,
    Target,
    Both,
}

/// The stage of the login in which a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Section 12.
    Security,
    /// Section 13.
    Operational,
    /// Any-Stage.
    Any,
    /// FFPO: in no login.
    FullFeature,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Every connection.
    Connection,
    /// LO: the first connection of a session.
    Leading,
    /// LO, and irrelevant in a discovery session.
    LeadingNormal,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    pub(crate) sender: Sender,
    pub(crate) place: Place,
    pub(crate) purpose: Use,
}

macro_rules! keys {
    ($($variant:ident $name:literal $rule:expr, $sender:ident $place:ident $purpose:ident;)*) => {
        /// A key that the table knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Key { $($variant),* }

        impl Key {
            /// Every key, in the order of the table.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its row.
            pub(crate) const fn row(self) -> &'static Row { &TABLE[self as usize] }

            /// The key with this name: names are case sensitive (section 6.1).
            pub(crate) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        // RFC 7143 11.12.10-2, 11.13.8-2, 12-1: every key of chapter 13, and which may stand in the security stage.
        const TABLE: &[Row] = &[$(Row {
            name: $name, rule: $rule, sender: Sender::$sender, place: Place::$place, purpose: Use::$purpose,
        }),*];
    };
}

use Rule::{And, Declared, DeclaredNumber, List, Maximum, Minimum, Obsolete, Or, Step};

// RFC 7143 6.2-9, 6.2-12, 6.2-13: every key of the standard has a row, those of methods that we do not offer too.
//
// One row a line. What a target answers goes by this order, so that what depends on other keys comes after them:
// MaxOutstandingR2T after ErrorRecoveryLevel, FirstBurstLength after all that it depends on.
//
// RFC 7143 4.2.2.4-2, 4.2.2.4-3: no length is below 512 bytes, so no transfer takes 2^32 PDUs.
// RFC 7143 6.2-15: all are the standard's.
keys! {
    InitiatorName            "InitiatorName"            Declared,                                      Initiator Any         Connection;
    InitiatorAlias           "InitiatorAlias"           Declared,                                      Initiator Any         Connection;
    TargetName               "TargetName"               Declared,                                      Initiator Any         Connection;
    TargetAlias              "TargetAlias"              Declared,                                      Target    Any         Connection;
    TargetAddress            "TargetAddress"            Declared,                                      Target    Any         Connection;
    TargetPortalGroupTag     "TargetPortalGroupTag"     Declared,                                      Target    Any         Connection;
    SessionType              "SessionType"              Declared,                                      Initiator Any         Leading;
    SendTargets              "SendTargets"              Declared,                                      Initiator FullFeature Connection;
    AuthMethod               "AuthMethod"               Step,                                          Both      Security    Connection;
    ChapAlgorithms           "CHAP_A"                   Step,                                          Both      Security    Connection;
    ChapIdentifier           "CHAP_I"                   Step,                                          Both      Security    Connection;
    ChapChallenge            "CHAP_C"                   Step,                                          Both      Security    Connection;
    ChapName                 "CHAP_N"                   Step,                                          Both      Security    Connection;
    ChapResponse             "CHAP_R"                   Step,                                          Both      Security    Connection;
    KerberosRequest          "KRB_AP_REQ"               Step,                                          Initiator Security    Connection;
    KerberosResponse         "KRB_AP_REP"               Step,                                          Target    Security    Connection;
    SrpUser                  "SRP_U"                    Step,                                          Initiator Security    Connection;
    SrpTargetAuthentication  "TargetAuth"               Step,                                          Initiator Security    Connection;
    SrpGroup                 "SRP_GROUP"                Step,                                          Both      Security    Connection;
    SrpSalt                  "SRP_s"                    Step,                                          Target    Security    Connection;
    SrpInitiatorValue        "SRP_A"                    Step,                                          Initiator Security    Connection;
    SrpTargetValue           "SRP_B"                    Step,                                          Target    Security    Connection;
    SrpInitiatorProof        "SRP_M"                    Step,                                          Initiator Security    Connection;
    SrpTargetProof           "SRP_HM"                   Step,                                          Target    Security    Connection;
    HeaderDigest             "HeaderDigest"             List("None"),                                  Both      Operational Connection;
    DataDigest               "DataDigest"               List("None"),                                  Both      Operational Connection;
    MaxRecvDataSegmentLength "MaxRecvDataSegmentLength" DeclaredNumber(numbers(8192, 512, BYTES_MAX)), Both      Operational Connection;
    MaxConnections           "MaxConnections"           Minimum(numbers(1, 1, 65_535)),                Both      Operational LeadingNormal;
    InitialR2t               "InitialR2T"               Or(true),                                      Both      Operational LeadingNormal;
    ImmediateData            "ImmediateData"            And(true),                                     Both      Operational LeadingNormal;
    MaxBurstLength           "MaxBurstLength"           Minimum(numbers(262_144, 512, BYTES_MAX)),     Both      Operational LeadingNormal;
    DefaultTime2Wait         "DefaultTime2Wait"         Maximum(numbers(2, 0, 3600)),                  Both      Operational Leading;
    DefaultTime2Retain       "DefaultTime2Retain"       Minimum(numbers(20, 0, 3600)),                 Both      Operational Leading;
    DataPduInOrder           "DataPDUInOrder"           Or(true),                                      Both      Operational LeadingNormal;
    DataSequenceInOrder      "DataSequenceInOrder"      Or(true),                                      Both      Operational LeadingNormal;
    ErrorRecoveryLevel       "ErrorRecoveryLevel"       Minimum(numbers(0, 0, 2)),                     Both      Operational Leading;
    MaxOutstandingR2t        "MaxOutstandingR2T"        Minimum(numbers(1, 1, 65_535)),                Both      Operational LeadingNormal;
    FirstBurstLength         "FirstBurstLength"         Minimum(numbers(65_536, 512, BYTES_MAX)),      Both      Operational LeadingNormal;
    TaskReporting            "TaskReporting"            List("RFC3720"),                               Both      Operational LeadingNormal;
    ISCSIProtocolLevel       "iSCSIProtocolLevel"       Minimum(numbers(1, 0, 31)),                    Both      Operational LeadingNormal;
    NodeArchitecture         "X#NodeArchitecture"       Declared,                                      Both      Operational Leading;
    InitiatorMarkers         "IFMarker"                 Obsolete,                                      Both      Operational Connection;
    TargetMarkers            "OFMarker"                 Obsolete,                                      Both      Operational Connection;
    InitiatorMarkerInterval  "IFMarkInt"                Obsolete,                                      Both      Operational Connection;
    TargetMarkerInterval     "OFMarkInt"                Obsolete,                                      Both      Operational Connection;
}

impl Key {
    /// Whether the two ends agree on its value, and do not merely declare it.
    pub(crate) const fn is_negotiated(self) -> bool {
        matches!(self.row().rule, And(_) | Or(_) | Minimum(_) | Maximum(_) | List(_))
    }

    /// Whether an initiator says with it who it is, or what it wants.
    pub(crate) const fn introduces(self) -> bool {
        matches!(self, Self::InitiatorName | Self::InitiatorAlias | Self::TargetName | Self::SessionType)
    }

    /// Whether `end` may send it in a login.
    pub(crate) fn may_come_from(self, end: End) -> bool {
        match self.row().sender {
            Sender::Initiator => end == End::Initiator,
            Sender::Target => end == End::Target,
            Sender::Both => true,
        }
    }

    /// Whether it may come more than once (section 6.3.1).
    pub(crate) fn may_be_repeated(self) -> bool {
        self == Self::TargetAddress
    }

    /// The value that holds as long as nothing else was agreed upon.
    pub(crate) const fn default_value(self) -> Option<Value> {
        match self.row().rule {
            And(default) | Or(default) => Some(Value::Flag(default)),
            Minimum(numbers) | Maximum(numbers) | DeclaredNumber(numbers) => Some(Value::Number(numbers.default)),
            List(default) => Some(Value::Word(default)),
            Declared | Step | Obsolete => None,
        }
    }
}

/// The value of a key that has a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Flag(bool),
    Number(u32),
    Word(&'static str),
}

impl core::fmt::Display for Value {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Flag(true) => formatter.write_str("Yes"),
            Self::Flag(false) => formatter.write_str("No"),
            Self::Number(number) => number.fmt(formatter),
            Self::Word(word) => formatter.write_str(word),
        }
    }
}

/// A set of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeySet(u64);

const _: () = assert!(Key::ALL.len() <= 64, "a set holds a bit for every key");

impl KeySet {
    /// Adds a key; false if it was there.
    pub(crate) fn insert(&mut self, key: Key) -> bool {
        let is_new = !self.contains(key);
        self.0 |= 1 << key as u64;
        is_new
    }

    /// Takes a key out; false if it was not there.
    pub(crate) fn remove(&mut self, key: Key) -> bool {
        let was_there = self.contains(key);
        self.0 &= !(1 << key as u64);
        was_there
    }

    pub(crate) fn contains(self, key: Key) -> bool {
        self.0 & 1 << key as u64 != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Key> {
        Key::ALL.iter().copied().filter(move |key| self.contains(*key))
    }
}

/// A numerical value, decimal or hexadecimal (RFC 7143 section 6.1).
pub(crate) fn parse_number(value: &str) -> Option<u64> {
    iscsi_pdu::text::number(value).ok()
}

/// A boolean value.
pub(crate) fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "Yes" => Some(true),
        "No" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_key_and_by_its_name() {
        for key in Key::ALL {
            assert_eq!(Key::named(key.row().name), Some(*key));
        }
        assert_eq!(Key::named("headerdigest"), None);
    }

    /// RFC 7143 4.2.2.4-2, 4.2.2.4-3: of the longest transfer, even if each PDU has a burst of its own.
    #[test]
    fn a_transfer_has_fewer_than_2_to_the_32_pdus() {
        for key in [Key::MaxRecvDataSegmentLength, Key::MaxBurstLength, Key::FirstBurstLength] {
            let (Minimum(numbers) | DeclaredNumber(numbers)) = key.row().rule else { panic!("{key:?} is a number") };
            assert!(2 * u64::from(u32::MAX).div_ceil(numbers.low.into()) < 1 << 32, "{key:?}");
        }
    }

    /// RFC 7143 6.1-2: but for the one name that the standard itself begins otherwise (section 13.24).
    #[test]
    fn every_name_is_a_standard_label() {
        for key in Key::ALL.iter().filter(|key| **key != Key::ISCSIProtocolLevel) {
            let name = key.row().name;
            assert!(name.starts_with(|first: char| first.is_ascii_uppercase()), "{name}");
            assert!(name.len() <= iscsi_pdu::text::KEY_BYTES_MAX, "{name}");
        }
    }

    /// RFC 7143 6.2-15: what is ours is no public key, and the standard itself has one such name (section 13.26).
    #[test]
    fn no_other_name_begins_with_x_and_a_number_sign() {
        let of_authors = Key::ALL.iter().filter(|key| key.row().name.starts_with("X#"));
        assert_eq!(of_authors.collect::<Vec<_>>(), [&Key::NodeArchitecture]);
    }

    #[test]
    fn every_default_is_within_the_range_of_its_key() {
        for key in Key::ALL {
            if let Minimum(numbers) | Maximum(numbers) | DeclaredNumber(numbers) = key.row().rule {
                assert!((numbers.low..=numbers.high).contains(&numbers.default), "{key:?}");
            }
        }
    }
}

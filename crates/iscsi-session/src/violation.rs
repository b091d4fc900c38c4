//! The rules that a peer can break, one variant each, and the one table of what is done about them.
//!
//! A line without an answer ends the session.

use iscsi_pdu::{LoginStatus, RejectReason};

/// What the end that finds a rule broken does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Nothing: RFC 7143 asks for silence.
    Ignore,
    /// A target sends Reject; a task that the PDU belongs to goes on (RFC 7143 section 7.3).
    Reject(RejectReason),
    /// A target ends the task with CHECK CONDITION, when no more data can come for it (RFC 7143 section 11.4.7.2).
    Fail(IscsiCondition),
    /// A target does both.
    RejectAndFail(RejectReason, IscsiCondition),
    /// A target refuses the login with this status (RFC 7143 section 11.13.5); an initiator closes the connection.
    Refuse(LoginStatus),
    /// The session ends.
    Close,
}

/// Why a target ends a task by itself: sense key ABORTED COMMAND and an additional sense code (RFC 7143 section 11.4.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IscsiCondition {
    /// 0Ch/0Ch.
    UnexpectedUnsolicitedData,
    /// 0Ch/0Dh.
    IncorrectAmountOfData,
    /// 47h/05h.
    ProtocolServiceCrcError,
    /// 11h/13h.
    SnackRejected,
}

macro_rules! violations {
    (@answer) => { Close };
    (@answer $answer:expr) => { $answer };
    ($($(#[$group_doc:meta])* $group:ident { $($variant:ident $section:literal $text:literal $(=> $answer:expr)?,)* })*) => {
        /// A rule that the peer has broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum Violation {
            $($(#[doc = concat!("RFC 7143 section ", $section, ": ", $text, ".")] #[error($text)] $variant,)*)*
        }

        impl Violation {
            $($(#[$group_doc])* pub const $group: &'static [Self] = &[$(Self::$variant),*];)*

            /// The section of RFC 7143 that the rule comes from.
            #[must_use]
            pub const fn section(self) -> &'static str {
                match self { $($(Self::$variant => $section,)*)* }
            }

            /// What is done about it.
            #[must_use]
            pub const fn answer(self) -> Answer {
                use Answer::{Close, Fail, Ignore, Refuse, Reject, RejectAndFail};
                use IscsiCondition::{
                    IncorrectAmountOfData, ProtocolServiceCrcError, SnackRejected, UnexpectedUnsolicitedData,
                };
                use LoginStatus::{
                    AuthenticationFailure, InitiatorError, InvalidDuringLogin, MissingParameter, SessionTypeNotSupported,
                    UnsupportedVersion,
                };
                use RejectReason::{
                    CommandNotSupported, DataDigestError, InvalidDataAck, InvalidPduField, LongOperationReject, ProtocolError, SnackReject,
                    TaskInProgress, TooManyImmediateCommands, WaitingForLogout,
                };
                match self { $($(Self::$variant => violations!(@answer $($answer)?),)*)* }
            }
        }
    };
}

violations! {
    /// What a target can do wrong after the login: the initiator closes the connection (RFC 7143 sections 7.7 and 7.13).
    OF_TARGETS {
        UnexpectedPdu "7.13" "a PDU that the peer may not send now",
        UnknownInitiatorTaskTag "4.2.5.3" "an answer to a request that is not outstanding",
        StatSnOutOfOrder "4.2.2.2" "a StatSN that is not the next",
        DataSnOutOfOrder "7.9" "a DataSN or R2TSN that is not the next",
        MissingData "7.9" "a response that counts more Data-In PDUs than came",
        DataOutOfOrder "11.7.6" "data that does not follow the data before it",
        DataBeyondExpected "11.7.6" "data beyond the expected data transfer length",
        DataWithoutRead "11.7" "data for a task that reads none",
        SegmentTooLong "13.12" "a data segment longer than MaxRecvDataSegmentLength",
        StatusInData "11.7.3" "a status in a Data-In PDU that has to come in a response",
        SenseBeyondSegment "11.4.7.1" "a SenseLength beyond the data segment",
        R2tWithoutWrite "11.8" "an R2T for a task that writes nothing",
        R2tBeyondExpected "11.8.4" "an R2T beyond the expected data transfer length",
        R2tTooLong "11.8.4" "an R2T longer than MaxBurstLength",
        R2tOutOfOrder "11.8" "an R2T for data that an earlier one asked for",
        TooManyR2ts "13.17" "more R2Ts at once than MaxOutstandingR2T",
        InconsistentLun "4.2.5.3" "another LUN than that of the task",
        NopInWithBothTags "7.7" "a NOP-In with an initiator task tag and a target transfer tag",
        UnsolicitedNopInData "11.19" "data in a NOP-In that answers no NOP-Out",
        TooManyPings "11.19" "pings faster than they can be answered",
        TextResponseFlags "11.11.1" "a text response that is not final and has no target transfer tag",
        TextTooLong "11.11.6" "a text response without end",
        CommandGap "7.3" "a reject of the NOP-Out that takes the CmdSN of a rejected command",
        TargetRecordMalformed "C" "a SendTargets response that is no list of target records",
        DataTwice "11.7.6" "data that has come before, where it may come in any order",
        TooManyGaps "13.18" "data in any order with more gaps than there can be a reason for",
        AcknowledgeWithoutTag "11.7.4" "a Data-In that asks for an acknowledgement without a target transfer tag",
        WrongConnection "4.2.5.1" "an answer on another connection than that of its request",
    }

    /// What an initiator can do wrong after the login.
    OF_INITIATORS {
        UnknownOpcode "11.17.1" "an opcode that RFC 7143 does not define" => Reject(CommandNotSupported),
        NotFromInitiator "7.13" "a PDU that only targets send" => Reject(ProtocolError),
        LoginInFullFeaturePhase "4.2.4" "a Login Request after the login" => Reject(ProtocolError),
        NotInDiscovery "4.3" "a request that a discovery session does not take" => Reject(ProtocolError),
        MalformedField "11.17.1" "a field whose value means nothing" => Reject(InvalidPduField),
        DataDigestMismatch "7.8" "a data digest that does not match the data" => Reject(DataDigestError),
        DataOutDigestMismatch "7.8" "a data digest that does not match the data of a task"
            => RejectAndFail(DataDigestError, ProtocolServiceCrcError),
        OutsideCommandWindow "4.2.2.1" "a CmdSN outside the window, or one that was there before" => Ignore,
        TooManyImmediate "4.2.2.1" "more immediate commands at once than the target takes" => Reject(TooManyImmediateCommands),
        CommandAfterLogoutRequest "11.9.1" "an immediate command while a logout is waited for" => Reject(WaitingForLogout),
        TagInUse "4.2.5.3" "an initiator task tag that another task has" => Reject(TaskInProgress),
        FinalOrWrite "11.3.1" "a command with neither the W nor the F bit" => Reject(InvalidPduField),
        DataWithoutDirection "11.3.1" "an expected data transfer length with neither the R nor the W bit"
            => Reject(InvalidPduField),
        BidirectionalWithoutLength "11.3.4" "a bidirectional command that does not say how much it reads"
            => Reject(InvalidPduField),
        ImmediateDataNotAllowed "13.11" "immediate data that was not agreed upon, or with a command that does not write"
            => Fail(UnexpectedUnsolicitedData),
        UnsolicitedDataNotAllowed "13.10" "unsolicited data that was not agreed upon" => Fail(UnexpectedUnsolicitedData),
        TooMuchUnsolicitedData "4.2.5.2" "more unsolicited data than FirstBurstLength or than is expected"
            => Fail(IncorrectAmountOfData),
        UnsolicitedDataIncomplete "11.4.7.2" "unsolicited data that ends before FirstBurstLength"
            => Fail(IncorrectAmountOfData),
        DataForUnknownTask "11.17.1" "data for a task that there is not" => Reject(InvalidPduField),
        DataForNonWrite "11.7" "data for a task that writes nothing" => Reject(ProtocolError),
        OtherConnection "4.2.5.1" "data on another connection than its command" => Reject(ProtocolError),
        UnknownTransferTag "11.17.1" "a target transfer tag that is not outstanding" => Reject(InvalidPduField),
        WrongLun "4.2.5.3" "a LUN that is not the task's" => Reject(InvalidPduField),
        DataOutSnOutOfOrder "7.9" "a Data-Out whose DataSN is not the next" => Fail(ProtocolServiceCrcError),
        DataOutOffset "11.7.6" "a Data-Out that does not follow the data before it"
            => RejectAndFail(InvalidPduField, IncorrectAmountOfData),
        DataBeyondR2t "11.8" "more data than the R2T asked for" => Fail(IncorrectAmountOfData),
        DataShortOfR2t "11.8" "less data than the R2T asked for" => RejectAndFail(ProtocolError, IncorrectAmountOfData),
        DataWithheld "4.2.3.3" "data that R2Ts have asked for and that does not come, for too many tasks that were ended",
        SnackNotSupported "11.16" "a SNACK at error recovery level 0" => Reject(SnackReject),
        SnackOutsideRun "11.16" "a SNACK for what was not sent, or was acknowledged" => Reject(ProtocolError),
        SnackForgotten "7.8" "a SNACK for what is not kept any more" => RejectAndFail(SnackReject, SnackRejected),
        InvalidDataAck "11.17.1" "a DataACK for data that was not sent" => Reject(InvalidDataAck),
        NopOutNotImmediate "11.18.1" "a NOP-Out that wants no answer and is not immediate" => Reject(InvalidPduField),
        TextContinuation "11.10.4" "a text request that continues what there is not" => Reject(InvalidPduField),
        TextOutstanding "11.10" "a text request before the one before it was answered" => Reject(ProtocolError),
        TextOutOfResources "11.11.4" "a text request without end" => Reject(LongOperationReject),
        TextNegotiation "6.4" "a text request that is malformed or says a key twice" => Reject(ProtocolError),
        SendTargetsScope "C" "a SendTargets request that the session type does not allow" => Reject(ProtocolError),
        TooManyErrors "7.13" "more bad PDUs than the peer reads answers to",
    }

    /// What either end can do wrong during the login.
    OF_LOGINS {
        NotDuringLogin "11.13.5" "a PDU that is no part of a login" => Refuse(InvalidDuringLogin),
        LoginFlags "11.12" "a login PDU whose header means nothing" => Refuse(InitiatorError),
        LoginTooLong "6.2" "a login without end" => Refuse(InitiatorError),
        LoginChanged "11.12" "another ISID, TSIH, CID, task tag, version or CmdSN in the same login" => Refuse(InitiatorError),
        LoginVersion "11.12.4" "no version of the protocol that both know; this end knows version 0" => Refuse(UnsupportedVersion),
        LoginOutOfTurn "6.3" "a login PDU before the one before it was answered" => Refuse(InitiatorError),
        LoginAcknowledgement "11.12.9" "an ExpStatSN beyond what was sent" => Refuse(InitiatorError),
        WrongStage "6.3" "a login PDU of another stage" => Refuse(InitiatorError),
        StageTransition "6.3" "a step to a stage that does not follow" => Refuse(InitiatorError),
        TextMalformed "6.1" "a text that is no list of key=value pairs" => Refuse(InitiatorError),
        TextInContinuation "6.2" "text in answer to a text that is not complete" => Refuse(InitiatorError),
        KeyOutOfPlace "13" "a key that this end may not send in this login or stage" => Refuse(InitiatorError),
        KeyRepeated "6.3" "a key for the second time" => Refuse(InitiatorError),
        KeyNotUnderstood "6.2" "a key of the standard that is not understood" => Refuse(InitiatorError),
        AnswerWithoutOffer "6.2" "an answer to a key that was not offered" => Refuse(InitiatorError),
        OfferWithTransit "6.3" "an offer that can no longer be answered" => Refuse(InitiatorError),
        ValueNotAdmissible "6.2.2" "a value that the key cannot have, or that was not offered" => Refuse(InitiatorError),
        NoAgreement "7.12" "a key for which no value suits both" => Refuse(InitiatorError),
        KeysContradict "6.2" "values of two keys that exclude each other" => Refuse(InitiatorError),
        MissingAnswer "6.2" "no answer to a key that has to be agreed upon" => Refuse(MissingParameter),
        MissingName "6.3" "no InitiatorName, or no TargetName for a normal session" => Refuse(MissingParameter),
        MalformedName "4.2.7" "a name that is no iSCSI name" => Refuse(InitiatorError),
        UnknownSessionType "13.21" "a SessionType that is neither Normal nor Discovery" => Refuse(SessionTypeNotSupported),
        AuthenticationRequired "6.3.1" "no authentication where it is required" => Refuse(AuthenticationFailure),
        NoCommonMethod "12.1" "no AuthMethod or CHAP algorithm that both may use" => Refuse(AuthenticationFailure),
        MissingSecurityKey "9.2" "a key that this step of the authentication needs is missing" => Refuse(MissingParameter),
        SecurityKeyOutOfStep "9.2" "a key or a value that is no part of this step of the authentication" => Refuse(InitiatorError),
        NotAuthenticated "12.1.3" "a name and a proof that do not belong together" => Refuse(AuthenticationFailure),
        ChallengeReflected "9.2.1" "a challenge that this end had sent itself" => Refuse(AuthenticationFailure),
        SecretInBothDirections "9.2.1" "a proof that this end would have given too: both use the same secret"
            => Refuse(AuthenticationFailure),
        TargetProofNotSupported "11.13.5" "a proof asked of a target that has none to give" => Refuse(AuthenticationFailure),
        TargetProofMissing "12.1.3" "no proof from the target, which was asked for it" => Refuse(AuthenticationFailure),
        ResponseMismatch "11.13" "a login response to another request" => Refuse(InitiatorError),
        ZeroTsih "11.13.3" "a session without a TSIH" => Refuse(InitiatorError),
        RedirectWithoutAddress "11.13.5" "a redirection that does not say where to" => Refuse(InitiatorError),
    }
}

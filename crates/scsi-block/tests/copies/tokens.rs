//! POPULATE TOKEN, WRITE USING TOKEN and RECEIVE ROD TOKEN INFORMATION.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use scsi_block::cdb::Cdb;
use scsi_block::copy::{
    AllRodTokens, CopyState, PopulateTokenList, RANGES_MAX, RodToken, RodTokenInformation, TOKEN_BYTES_MAX,
    TOKEN_INACTIVITY_SECONDS, TOKEN_INACTIVITY_SECONDS_MAX, ThirdPartyCopy, WriteUsingTokenList,
};
use scsi_block::opcodes::{COMMANDS, Field, Operation, Rules};
use scsi_block::parameters::UnmapList;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

use super::*;

fn extents(ranges: &[(u64, u64)]) -> Vec<Extent> {
    ranges.iter().map(|(lba, blocks)| Extent { lba: *lba, blocks: *blocks }).collect()
}

fn populate(list: &PopulateTokenList) -> (Cdb, Vec<u8>) {
    let bytes = list.encode();
    (Cdb::populate_token(3, bytes.len() as u32), bytes)
}

fn write(list: &WriteUsingTokenList) -> (Cdb, Vec<u8>) {
    let bytes = list.encode();
    (Cdb::write_using_token(4, bytes.len() as u32), bytes)
}

fn information(bench: &mut Bench, nexus: &mut Nexus, unit: usize, identifier: u32) -> RodTokenInformation {
    let data = bench.good(nexus, unit, &Cdb::receive_rod_token_information(identifier, 1024), &[]);
    RodTokenInformation::decode(&data).unwrap()
}

/// A token for blocks of a unit.
fn token(bench: &mut Bench, nexus: &mut Nexus, unit: usize, ranges: &[(u64, u64)]) -> RodToken {
    let (cdb, bytes) = populate(&PopulateTokenList { inactivity_seconds: 0, ranges: extents(ranges) });
    bench.good(nexus, unit, &cdb, &bytes);
    let told = information(bench, nexus, unit, 3);
    assert_eq!((told.state, told.service_action), (CopyState::Completed, 0x10));
    assert_eq!(told.blocks, ranges.iter().map(|(_, blocks)| blocks).sum::<u64>());
    told.token.unwrap()
}

fn to(token: &RodToken, offset_blocks: u64, ranges: &[(u64, u64)]) -> WriteUsingTokenList {
    WriteUsingTokenList {
        token: token.clone(),
        offset_blocks,
        immediate: false,
        delete: false,
        ranges: extents(ranges),
    }
}

/// Why a token cannot be used.
fn refused(bench: &mut Bench, nexus: &mut Nexus, unit: usize, list: &WriteUsingTokenList) -> Sense {
    let (cdb, bytes) = write(list);
    let sense = bench.sense(nexus, unit, &cdb, &bytes);
    assert_eq!(sense.key, SenseKey::IllegalRequest);
    sense
}

#[test]
fn a_token_carries_blocks_to_another_unit_for_another_nexus() {
    let mut bench = Bench::new();
    let (mut one, mut two) = (bench.nexus("one"), bench.nexus("two"));
    let token = token(&mut bench, &mut one, 0, &[(100, 10), (5, 3)]);
    let before = bench.stores.clone();
    for _ in 0..2 {
        let (cdb, bytes) = write(&to(&token, 2, &[(50, 4), (0, 7)]));
        bench.good(&mut two, 1, &cdb, &bytes);
        let told = information(&mut bench, &mut two, 1, 4);
        assert_eq!((told.state, told.service_action, told.blocks), (CopyState::Completed, 0x11, 11));
        assert_eq!(told.token, None);
        assert_eq!(bench.blocks(1, 50, 4), &before[0][102 * 512..106 * 512]);
        assert_eq!(bench.blocks(1, 0, 4), &before[0][106 * 512..110 * 512]);
        assert_eq!(bench.blocks(1, 4, 3), &before[0][5 * 512..8 * 512]);
        assert_eq!(bench.blocks(1, 7, 43), &before[1][7 * 512..50 * 512]);
        bench.stores[1].clone_from(&before[1]);
    }
}

#[test]
fn the_token_for_zeros_needs_nobody_to_make_it() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let before = bench.stores.clone();
    for unit in [0, LARGE, THIN] {
        let (cdb, bytes) = write(&to(&RodToken::zeros(), 0, &[(8, 4), (1, 1)]));
        bench.good(&mut nexus, unit, &cdb, &bytes);
        assert!(bench.blocks(unit, 8, 4).iter().chain(bench.blocks(unit, 1, 1)).all(|byte| *byte == 0));
        assert_eq!(bench.blocks(unit, 0, 1), &before[unit][..bench.blocks(unit, 0, 1).len()]);
    }
}

#[test]
fn a_token_that_is_none_is_refused() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let good = token(&mut bench, &mut nexus, 0, &[(0, 8)]);
    let before = bench.stores.clone();
    let changed = |byte: usize| {
        let mut bytes = *good.as_bytes();
        bytes[byte] ^= 1;
        to(&RodToken::from_bytes(&bytes).unwrap(), 0, &[(0, 8)])
    };
    for (byte, code) in [
        (0, AdditionalSense::UNSUPPORTED_TOKEN_TYPE),
        (7, AdditionalSense::INVALID_TOKEN_LENGTH),
        (15, AdditionalSense::TOKEN_CORRUPT),
        (26, AdditionalSense::TOKEN_UNKNOWN),
        (63, AdditionalSense::TOKEN_CORRUPT),
        (130, AdditionalSense::TOKEN_CORRUPT),
        (511, AdditionalSense::TOKEN_CORRUPT),
    ] {
        assert_eq!(refused(&mut bench, &mut nexus, 1, &changed(byte)).additional, code, "byte {byte}");
    }
    assert!(bench.stores == before);
    let elsewhere = refused(&mut Bench::new(), &mut Bench::new().nexus("one"), 1, &to(&good, 0, &[(0, 8)]));
    assert_eq!(elsewhere.additional, AdditionalSense::TOKEN_EXPIRED, "made by a device that does not run any more");
}

#[test]
fn lists_that_ask_for_too_much_are_refused() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let good = token(&mut bench, &mut nexus, 0, &[(0, 8)]);
    let long = refused(&mut bench, &mut nexus, 1, &to(&good, 1, &[(0, 8)]));
    assert_eq!(long.field.unwrap().byte, 8);
    let far = refused(&mut bench, &mut nexus, 1, &to(&good, u64::MAX, &[(0, 8)]));
    assert_eq!(far.field.unwrap().byte, 8);
    let outside = refused(&mut bench, &mut nexus, 1, &to(&good, 0, &[(BLOCKS - 7, 8)]));
    assert_eq!(outside.additional, AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    let other_blocks = refused(&mut bench, &mut nexus, LARGE, &to(&good, 0, &[(0, 1)]));
    assert_eq!(other_blocks.additional, AdditionalSense::INVALID_TOKEN_OPERATION);

    let mut sense = |list: PopulateTokenList| {
        let (cdb, bytes) = populate(&list);
        bench.sense(&mut nexus, 0, &cdb, &bytes)
    };
    let list = PopulateTokenList { inactivity_seconds: TOKEN_INACTIVITY_SECONDS_MAX + 1, ranges: extents(&[(0, 8)]) };
    assert_eq!(sense(list.clone()).field.unwrap().byte, 4);
    let outside = sense(PopulateTokenList { inactivity_seconds: 0, ranges: extents(&[(BLOCKS, 1)]) });
    assert_eq!(outside.additional, AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    let long = Cdb::populate_token(3, PopulateTokenList::BYTES_MAX as u32 + 1);
    assert_eq!(bench.sense(&mut nexus, 0, &long, &[]).additional, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    let geometry = Geometry { block_size: 4096, blocks: 1 << 20 };
    let config = LogicalUnitConfig {
        token_secret: Some(copy::TokenSecret::new([1; 32])),
        ..LogicalUnitConfig::new(geometry, "s")
    };
    let device = std::sync::Arc::new(TargetDevice::new([(lun(0), config)]).unwrap());
    let mut nexus = device.connect("one");
    nexus.begin(lun(0), Cdb::test_unit_ready().as_bytes());
    let blocks = TOKEN_BYTES_MAX / 4096 / RANGES_MAX as u64;
    for (more, status) in [(0, Status::Good), (1, Status::CheckCondition)] {
        let ranges = (0..RANGES_MAX as u64).map(|index| Extent { lba: index << 12, blocks: blocks + more }).collect();
        let (cdb, bytes) = populate(&PopulateTokenList { inactivity_seconds: 0, ranges });
        let Begin::Task(mut task) = nexus.begin(lun(0), cdb.as_bytes()) else { panic!() };
        let Step::Done(outcome) = nexus.start(&mut task, [bytes.into()].into_iter().collect()) else { panic!() };
        assert_eq!(outcome.status, status);
    }
}

#[test]
fn a_token_ends_when_nobody_has_used_it_for_long_when_it_is_deleted_or_with_its_medium() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let start = Instant::now();
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let unused = token(&mut bench, &mut nexus, 0, &[(0, 8)]);
    bench.device.handle_timeout(start);
    bench.device.handle_timeout(start + seconds(TOKEN_INACTIVITY_SECONDS - 1));
    let (cdb, bytes) = write(&to(&unused, 0, &[(0, 8)]));
    bench.good(&mut nexus, 1, &cdb, &bytes);
    bench.device.handle_timeout(start + seconds(TOKEN_INACTIVITY_SECONDS));
    bench.device.handle_timeout(start + seconds(2 * TOKEN_INACTIVITY_SECONDS - 1));
    bench.good(&mut nexus, 1, &cdb, &bytes);
    bench.device.handle_timeout(start + seconds(2 * TOKEN_INACTIVITY_SECONDS));
    bench.device.handle_timeout(start + seconds(3 * TOKEN_INACTIVITY_SECONDS));
    assert_eq!(
        refused(&mut bench, &mut nexus, 1, &to(&unused, 0, &[(0, 8)])).additional,
        AdditionalSense::TOKEN_EXPIRED
    );

    let deleted = token(&mut bench, &mut nexus, 0, &[(0, 8)]);
    let (cdb, bytes) = write(&WriteUsingTokenList { delete: true, ..to(&deleted, 0, &[(0, 8)]) });
    bench.good(&mut nexus, 1, &cdb, &bytes);
    assert_eq!(
        refused(&mut bench, &mut nexus, 1, &to(&deleted, 0, &[(0, 8)])).additional,
        AdditionalSense::TOKEN_DELETED
    );

    let ejected = token(&mut bench, &mut nexus, THIN, &[(0, 8)]);
    bench.good(&mut nexus, THIN, &Cdb::load_eject(false), &[]);
    bench.good(&mut nexus, THIN, &Cdb::load_eject(true), &[]);
    assert_eq!(
        refused(&mut bench, &mut nexus, 1, &to(&ejected, 0, &[(0, 8)])).additional,
        AdditionalSense::TOKEN_REVOKED
    );
}

#[test]
fn a_token_ends_with_its_unit_and_with_blocks_that_are_not_there_any_more() {
    let mut bench = Bench::new();
    let (mut nexus, mut other) = (bench.nexus("one"), bench.nexus("two"));
    let (kept, cut) =
        (token(&mut bench, &mut nexus, 0, &[(0, 8)]), token(&mut bench, &mut nexus, 0, &[(0, 8), (99, 2)]));
    bench.device.resize(0, 100).unwrap();
    bench.device.resize(0, BLOCKS).unwrap();
    let (cdb, bytes) = write(&to(&kept, 0, &[(0, 8)]));
    bench.good(&mut nexus, 1, &cdb, &bytes);
    let why = refused(&mut bench, &mut nexus, 1, &to(&cut, 0, &[(0, 8)])).additional;
    assert_eq!(why, AdditionalSense::TOKEN_REVOKED);

    let (task, step) = bench.begin(&mut nexus, 1, &cdb, &bytes);
    let mut task = task.unwrap();
    let before = bench.stores.clone();
    bench.device.remove(lun(0)).unwrap();
    let Step::Done(outcome) = bench.go_on(&mut nexus, &mut task, step, 10) else { panic!() };
    assert_eq!(Sense::decode(&outcome.sense).unwrap().additional, AdditionalSense::TOKEN_REVOKED);
    assert!(bench.stores == before);
    for nexus in [&mut nexus, &mut other] {
        // The first answer is the unit attention that tells of the change.
        nexus.begin(lun(1), Cdb::test_unit_ready().as_bytes());
        let why = refused(&mut bench, nexus, 1, &to(&kept, 0, &[(0, 8)])).additional;
        assert_eq!(why, AdditionalSense::TOKEN_UNKNOWN);
    }
}

/// A nexus that finds its token's unit gone between two steps of a copy does not write what it has read.
#[test]
fn a_copy_whose_source_the_nexus_has_forgotten_ends() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let token = token(&mut bench, &mut nexus, 0, &[(0, 8)]);
    let (cdb, bytes) = write(&to(&token, 0, &[(0, 8)]));
    let (task, step) = bench.begin(&mut nexus, 1, &cdb, &bytes);
    let mut task = task.unwrap();
    let before = bench.stores.clone();
    bench.device.remove(lun(0)).unwrap();
    nexus.begin(lun(1), Cdb::test_unit_ready().as_bytes());
    let Step::Done(outcome) = bench.go_on(&mut nexus, &mut task, step, 10) else { panic!() };
    assert_eq!(Sense::decode(&outcome.sense).unwrap().additional, AdditionalSense::TOKEN_REVOKED);
    assert!(bench.stores == before);
}

/// Every command of the table that changes the medium, for one block at 10, with its data.
fn writing_commands(bench: &mut Bench, nexus: &mut Nexus) -> Vec<(Cdb, Vec<u8>)> {
    let writes = COMMANDS.iter().filter(|row| row.rules.contains(Rules::WRITES));
    let zeros = write(&to(&RodToken::zeros(), 0, &[(10, 1)]));
    let own = segment((0, 500), (THIN, 10), 1);
    let copy = extended_copy(&bench.list(nexus, &[own]));
    let unmap = UnmapList(extents(&[(10, 1)]).into_iter().collect()).encode();
    let overwrite = parameters::OverwriteList { invert: false, passes: 1, pattern: vec![1] }.encode();
    let commands = writes.filter_map(|row| match row.operation {
        Operation::WriteUsingToken => Some(zeros.clone()),
        Operation::Unmap => Some((Cdb::unmap(unmap.len() as u16), unmap.clone())),
        Operation::FormatUnit => Some((Cdb::new(Operation::FormatUnit), Vec::new())),
        Operation::SanitizeOverwrite => {
            Some((Cdb::sanitize_overwrite(false, overwrite.len() as u16), overwrite.clone()))
        }
        Operation::SanitizeBlockErase | Operation::SanitizeCryptographicErase => {
            Some((Cdb::new(row.operation), Vec::new()))
        }
        // Units without protection information do not have these.
        _ if row.opcode == opcodes::VARIABLE_LENGTH => None,
        _ => {
            let cdb = Cdb::new(row.operation).try_with(Field::LogicalBlockAddress, 10).unwrap();
            Some((
                cdb.try_with(Field::Blocks, 1).unwrap(),
                vec![0x5a; cdb.try_with(Field::Blocks, 1).unwrap().data_length(512) as usize],
            ))
        }
    });
    commands.collect::<Vec<_>>().into_iter().chain([copy]).collect()
}

#[test]
fn every_command_that_writes_ends_the_tokens_of_what_it_writes() {
    let mut bench = Bench::new();
    let (mut nexus, mut other) = (bench.nexus("one"), bench.nexus("two"));
    let commands = writing_commands(&mut bench, &mut nexus);
    assert!(commands.len() >= 17, "the table has them");
    for (cdb, data_out) in commands {
        let whole = matches!(
            cdb.operation(),
            Operation::FormatUnit
                | Operation::SanitizeOverwrite
                | Operation::SanitizeBlockErase
                | Operation::SanitizeCryptographicErase
        );
        let touched = token(&mut bench, &mut nexus, THIN, &[(3, 1), (8, 4)]);
        let untouched = token(&mut bench, &mut nexus, THIN, &[(0, 10), (11, 9)]);
        bench.good(&mut other, THIN, &cdb, &data_out);
        let sense = refused(&mut bench, &mut nexus, 1, &to(&touched, 0, &[(0, 1)]));
        assert_eq!(sense.additional, AdditionalSense::TOKEN_REVOKED, "{cdb:?}");
        let (read, bytes) = write(&to(&untouched, 0, &[(0, 19)]));
        assert_eq!(bench.run(&mut nexus, 1, &read, &bytes).status == Status::Good, !whole, "{cdb:?}");
    }
}

#[test]
fn commands_that_only_read_leave_tokens_alone() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let token = token(&mut bench, &mut nexus, 0, &[(0, 64)]);
    let copy = extended_copy(&bench.list(&mut nexus, &[segment((0, 0), (1, 0), 64)]));
    let commands = [
        (Cdb::read_10(0, 8), Vec::new()),
        (Cdb::verify_16(0, 8, false), Vec::new()),
        (Cdb::verify_16(0, 8, true), vec![0; 8 * 512]),
        (Cdb::synchronize_cache_10(), Vec::new()),
        copy,
    ];
    for (cdb, data_out) in commands {
        bench.good(&mut nexus, 0, &cdb, &data_out);
        let (cdb, bytes) = write(&to(&token, 0, &[(0, 8)]));
        bench.good(&mut nexus, 1, &cdb, &bytes);
    }
}

/// A write is under way while the token is made: who knows what the token stands for?
#[test]
fn a_write_that_ends_after_a_token_was_made_ends_it() {
    let mut bench = Bench::new();
    let (mut nexus, mut other) = (bench.nexus("one"), bench.nexus("two"));
    let same = Cdb::write_same_16(0, 8, false);
    for (cdb, data) in [
        (Cdb::write_10(0, 8), vec![7; 8 * 512]),
        (same, vec![7; 512]),
        (extended_copy(&bench.list(&mut nexus, &[segment((1, 0), (0, 0), 8)]))),
    ] {
        let (task, step) = bench.begin(&mut other, 0, &cdb, &data);
        let mut task = task.unwrap();
        // A copy reads first.
        let reads = usize::from(task.is_patient());
        let step = bench.go_on(&mut other, &mut task, step, reads);
        let token = token(&mut bench, &mut nexus, 0, &[(7, 4)]);
        bench.go_on(&mut other, &mut task, step, 10);
        assert_eq!(
            refused(&mut bench, &mut nexus, 1, &to(&token, 0, &[(0, 4)])).additional,
            AdditionalSense::TOKEN_REVOKED
        );
    }
}

/// A copy that reads by a token stops before it writes what the token does not stand for.
#[test]
fn a_token_that_ends_under_way_ends_the_copy() {
    let mut bench = Bench::new();
    let (mut nexus, mut other) = (bench.nexus("one"), bench.nexus("two"));
    let token = token(&mut bench, &mut nexus, 0, &[(0, 2048)]);
    let before = bench.stores.clone();
    let (cdb, bytes) = write(&to(&token, 0, &[(0, 2048)]));
    let (task, step) = bench.begin(&mut nexus, 1, &cdb, &bytes);
    let mut task = task.unwrap();
    let step = bench.go_on(&mut nexus, &mut task, step, 2);
    bench.good(&mut other, 0, &Cdb::write_10(200, 1), &[9; 512]);
    let Step::Done(outcome) = bench.go_on(&mut nexus, &mut task, step, 10) else { panic!() };
    assert_eq!(Sense::decode(&outcome.sense).unwrap().additional, AdditionalSense::TOKEN_REVOKED);
    assert_eq!(bench.blocks(1, 0, 128), &before[0][..128 * 512]);
    assert!(bench.stores[1][128 * 512..] == before[1][128 * 512..]);
    let told = information(&mut bench, &mut nexus, 1, 4);
    assert_eq!((told.state, told.blocks), (CopyState::Failed, 128));
    assert_eq!(told.sense.unwrap().additional, AdditionalSense::TOKEN_REVOKED);
}

#[test]
fn the_page_of_third_party_copy_tells_what_there_is() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let page = bench.good(&mut nexus, 0, &Cdb::inquiry_page(0x8f, 1024), &[]);
    let page = ThirdPartyCopy::decode(&page).unwrap();
    let limits = page.token_limits.unwrap();
    assert_eq!((limits.ranges_max, limits.blocks_max), (RANGES_MAX as u16, TOKEN_BYTES_MAX / 512));
    assert_eq!(limits.inactivity_seconds, TOKEN_INACTIVITY_SECONDS);
    assert!(page.rod_types.contains(&(RodToken::POINT_IN_TIME_CHANGE_VULNERABLE, true, true)));
    for (unit, there) in [(0, true), (PROTECTED, false)] {
        let listed = bench.good(&mut nexus, unit, &Cdb::inquiry_page(0, 255), &[]);
        assert_eq!(listed.contains(&0x8f), there);
        let status = bench.run(&mut nexus, unit, &Cdb::inquiry_page(0x8f, 1024), &[]).status;
        assert_eq!(status == Status::Good, there);
    }
}

#[test]
fn tokens_that_live_are_told_without_what_they_can_be_used_by() {
    let mut bench = Bench::new();
    let (mut one, mut two) = (bench.nexus("one"), bench.nexus("two"));
    let all = |bench: &mut Bench, nexus: &mut Nexus, unit| {
        let data = bench.good(nexus, unit, &Cdb::report_all_rod_tokens(4096), &[]);
        let told = AllRodTokens::decode(&data).unwrap().0;
        (data, told.iter().map(|token| (token.identifier, token.bytes)).collect::<Vec<_>>())
    };
    assert_eq!(all(&mut bench, &mut one, 0).1, []);
    let tokens = [(100, 10), (5, 3), (50, 1)].map(|range| token(&mut bench, &mut one, 0, &[range]));
    let (data, told) = all(&mut bench, &mut two, 0);
    assert_eq!(told, [(0, 5120), (1, 1536), (2, 512)]);
    for (token, management) in tokens.iter().zip(data[8..].chunks(96)) {
        assert_eq!(token.as_bytes()[..96], *management);
        let mut bytes = [0; RodToken::BYTES];
        bytes[..96].copy_from_slice(management);
        let made_up = to(&RodToken::from_bytes(&bytes).unwrap(), 0, &[(0, 1)]);
        assert_eq!(refused(&mut bench, &mut two, 0, &made_up).additional, AdditionalSense::TOKEN_CORRUPT);
    }
    bench.good(&mut two, 0, &Cdb::write_16(6, 1), &[1; 512]);
    let (cdb, bytes) = write(&WriteUsingTokenList { delete: true, ..to(&tokens[2], 0, &[(0, 1)]) });
    bench.good(&mut two, 1, &cdb, &bytes);
    assert_eq!(all(&mut bench, &mut two, 0).1, [(0, 5120)], "those that have ended are not told of");
    assert_eq!(all(&mut bench, &mut two, 1).1, [], "a unit tells of its own");
    let refused = bench.sense(&mut two, PROTECTED, &Cdb::report_all_rod_tokens(4096), &[]);
    assert_eq!(refused.additional, AdditionalSense::INVALID_COMMAND_OPERATION_CODE);
}

#[test]
fn only_units_with_a_secret_make_tokens() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let (cdb, bytes) = populate(&PopulateTokenList { inactivity_seconds: 0, ranges: extents(&[(0, 1)]) });
    let refused = bench.sense(&mut nexus, PROTECTED, &cdb, &bytes);
    assert_eq!(refused.additional, AdditionalSense::INVALID_COMMAND_OPERATION_CODE);
    let config = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 8 }, "s");
    let device = std::sync::Arc::new(TargetDevice::new([(lun(0), config)]).unwrap());
    let mut nexus = device.connect("one");
    nexus.begin(lun(0), Cdb::test_unit_ready().as_bytes());
    assert!(
        matches!(nexus.begin(lun(0), cdb.as_bytes()), Begin::Done(outcome) if outcome.status == Status::CheckCondition)
    );
    assert!(matches!(nexus.begin(lun(0), write(&to(&RodToken::zeros(), 0, &[(0, 1)])).0.as_bytes()), Begin::Task(_)));
}

/// What the model does: make a token, use one, write, let time pass.
#[derive(Clone, Copy, Debug)]
enum Action {
    Populate { unit: usize, lba: u64, blocks: u64 },
    Use { token: usize, unit: usize, offset: u64, lba: u64, blocks: u64, delete: bool },
    Write { unit: usize, lba: u64, blocks: u64, fill: u8 },
    Copy { from: (usize, u64), to: (usize, u64), blocks: u64 },
    Wait { seconds: u64 },
}

fn action() -> impl Strategy<Value = Action> {
    let place = || (0usize..2, 0u64..56);
    prop_oneof![
        (place(), 1u64..9).prop_map(|((unit, lba), blocks)| Action::Populate { unit, lba, blocks }),
        (0usize..6, place(), 0u64..3, 1u64..9, any::<bool>()).prop_map(
            |(token, (unit, lba), offset, blocks, delete)| {
                Action::Use { token, unit, offset, lba, blocks, delete: delete && blocks == 1 }
            }
        ),
        (place(), 1u64..9, any::<u8>()).prop_map(|((unit, lba), blocks, fill)| Action::Write {
            unit,
            lba,
            blocks,
            fill
        }),
        (place(), place(), 1u64..9).prop_map(|(from, to, blocks)| Action::Copy { from, to, blocks }),
        (1u64..40).prop_map(|seconds| Action::Wait { seconds }),
    ]
}

/// What the model knows of a token.
struct Known {
    token: RodToken,
    unit: usize,
    range: (u64, u64),
    data: Vec<u8>,
    used_at: u64,
    ended: Option<AdditionalSense>,
}

/// Blocks of a unit change.
fn touch(known: &mut [Known], unit: usize, lba: u64, blocks: u64) {
    for token in known.iter_mut().filter(|token| token.unit == unit && token.ended.is_none()) {
        let (first, count) = token.range;
        if first < lba + blocks && lba < first + count {
            token.ended = Some(AdditionalSense::TOKEN_REVOKED);
        }
    }
}

fn range(lba: u64, blocks: u64) -> std::ops::Range<usize> {
    lba as usize * 512..(lba + blocks) as usize * 512
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A token gives what its blocks were when it was made, or says why not.
    #[test]
    fn tokens_do_what_the_reference_does(actions in prop::collection::vec(action(), 1..40)) {
        let mut bench = Bench::new();
        let mut nexus = bench.nexus("one");
        let mut disks = bench.stores.clone();
        let mut known: Vec<Known> = Vec::new();
        let (start, mut now) = (Instant::now(), 0);
        for action in actions {
            bench.device.handle_timeout(start + Duration::from_secs(now));
            match action {
                Action::Populate { unit, lba, blocks } => known.push(Known {
                    token: token(&mut bench, &mut nexus, unit, &[(lba, blocks)]),
                    unit,
                    range: (lba, blocks),
                    data: disks[unit][range(lba, blocks)].to_vec(),
                    used_at: now,
                    ended: None,
                }),
                Action::Use { token, unit, offset, lba, blocks, delete } => {
                    let Some(used) = known.get_mut(token) else { continue };
                    let (cdb, bytes) = write(&WriteUsingTokenList { delete, ..to(&used.token, offset, &[(lba, blocks)]) });
                    let outcome = bench.run(&mut nexus, unit, &cdb, &bytes);
                    let sense = Sense::decode(&outcome.sense).ok().map(|sense| sense.additional);
                    if used.ended.is_some() {
                        prop_assert_eq!(sense, used.ended);
                        continue;
                    }
                    used.used_at = now;
                    if offset + blocks > used.range.1 {
                        prop_assert_eq!(sense, Some(AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST));
                        continue;
                    }
                    prop_assert_eq!(sense, None);
                    disks[unit][range(lba, blocks)].copy_from_slice(&used.data[range(offset, blocks)]);
                    touch(&mut known, unit, lba, blocks);
                    if delete && known[token].ended.is_none() {
                        known[token].ended = Some(AdditionalSense::TOKEN_DELETED);
                    }
                }
                Action::Write { unit, lba, blocks, fill } => {
                    let data = vec![fill; blocks as usize * 512];
                    bench.good(&mut nexus, unit, &Cdb::write_16(lba, blocks as u32), &data);
                    disks[unit][range(lba, blocks)].copy_from_slice(&data);
                    touch(&mut known, unit, lba, blocks);
                }
                Action::Copy { from, to, blocks } => {
                    let (cdb, bytes) = extended_copy(&bench.list(&mut nexus, &[segment(from, to, blocks as u16)]));
                    bench.good(&mut nexus, 0, &cdb, &bytes);
                    let data = disks[from.0][range(from.1, blocks)].to_vec();
                    disks[to.0][range(to.1, blocks)].copy_from_slice(&data);
                    touch(&mut known, to.0, to.1, blocks);
                }
                Action::Wait { seconds } => {
                    now += seconds;
                    for token in known.iter_mut().filter(|token| token.ended.is_none()) {
                        if now - token.used_at >= u64::from(TOKEN_INACTIVITY_SECONDS) {
                            token.ended = Some(AdditionalSense::TOKEN_EXPIRED);
                        }
                    }
                }
            }
            bench.device.handle_timeout(start + Duration::from_secs(now));
            prop_assert!(bench.stores == disks);
        }
    }
}

#[test]
fn with_immed_blocks_are_written_after_the_answer() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let list = WriteUsingTokenList { immediate: true, ..to(&RodToken::zeros(), 0, &[(3, 8)]) };
    let (cdb, bytes) = write(&list);
    let (task, step) = bench.begin(&mut nexus, 0, &cdb, &bytes);
    assert!(matches!(&step, Step::Answered(_)));
    assert!(bench.blocks(0, 3, 8).iter().any(|byte| *byte != 0));
    bench.go_on(&mut nexus, &mut task.unwrap(), step, usize::MAX);
    assert!(bench.blocks(0, 3, 8).iter().all(|byte| *byte == 0));
}

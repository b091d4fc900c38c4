//! `modes`: the mode pages of a logical unit field by field, and fields that are set.

use std::str::FromStr;

use clap::Args;
use iscsi_runtime::url::Url;
use scsi_block::cdb::Cdb;
use scsi_block::mode::{ALL_PAGES, ALL_SUBPAGES, FIELDS, ModeData, ModeField, ModePage};
use serde_json::{Value, json};

use super::connection::{Connection, at};
use super::unit::Unit;
use crate::bench::table;
use crate::failure::{Failure, Kind};
use crate::parse::hidden;
use crate::show;

/// Bytes of mode pages that are asked for.
const PAGES_BYTES: u16 = 4096;
/// The same of the command that has a byte to say how many.
const PAGES_BYTES_6: u8 = 252;

/// PC: which values are asked for.
const CURRENT: u8 = 0;
const CHANGEABLE: u8 = 1;
const DEFAULT: u8 = 2;
const SAVED: u8 = 3;

/// A field and the value that it is to have.
#[derive(Clone, Copy, Debug)]
struct Assignment {
    field: &'static ModeField,
    value: u64,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected NAME=VALUE, such as WCE=1".to_owned();
        let (name, value) = text.split_once('=').ok_or_else(expected)?;
        let names = || FIELDS.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
        let field = ModeField::find(name).ok_or_else(|| format!("expected one of {}", names()))?;
        let number = value.strip_prefix("0x").map_or_else(|| value.parse(), |digits| u64::from_str_radix(digits, 16));
        match number {
            Ok(value) if value <= field.place.max() => Ok(Self { field, value }),
            _ => Err(format!("expected a number from 0 to {} for {}", field.place.max(), field.name)),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Modes {
    /// The disk
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Url,

    /// Sets a field, by the name that is shown for it; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Assignment>,

    /// Keeps what is set over a restart of the disk, if it can
    #[arg(long, requires = "set")]
    save: bool,

    /// Answers in JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

/// Sets what is to be set, then shows all fields.
///
/// # Errors
/// The unit cannot be asked, or a field cannot be set.
pub(super) fn run(modes: &Modes) -> Result<(), Failure> {
    let unit = Unit::open(&modes.url, &modes.connection)?;
    for assignment in &modes.set {
        set(&unit, assignment, modes.save).map_err(at(&modes.url))?;
    }
    let current = pages(&unit, CURRENT).map_err(at(&modes.url))?;
    let others = [CHANGEABLE, DEFAULT, SAVED].map(|control| pages(&unit, control).unwrap_or_default());
    unit.close();
    let lines: Vec<Line> = current.iter().flat_map(|page| lines(page, &others)).collect();
    match modes.json {
        true => show::print(&Value::from_iter(lines.iter().map(Line::to_json)).to_string()),
        false => show::print(&to_text(&lines)),
    }
    Ok(())
}

/// All pages; of a unit that knows no subpages those without, and of one that knows no more by the short command.
fn pages(unit: &Unit, control: u8) -> Result<Vec<ModePage>, Failure> {
    let long = |subpage| {
        let data = unit.read(&Cdb::mode_sense_10(control, ALL_PAGES, subpage, PAGES_BYTES), PAGES_BYTES.into())?;
        ModeData::decode_10(&data).map_err(wrong)
    };
    let short = || {
        let data = unit.read(&Cdb::mode_sense_6(control, ALL_PAGES, 0, PAGES_BYTES_6), PAGES_BYTES_6.into())?;
        ModeData::decode_6(&data).map_err(wrong)
    };
    let data = long(ALL_SUBPAGES).or_else(|_| long(0)).or_else(|failure| short().map_err(|_| failure))?;
    Ok(data.pages)
}

fn wrong(error: scsi_block::DecodeError) -> Failure {
    Failure::new(Kind::Device, error.to_string())
}

/// Sends the page that has the field back, with the field changed.
fn set(unit: &Unit, Assignment { field, value }: &Assignment, save: bool) -> Result<(), Failure> {
    let refused = |why: &str| Failure::new(Kind::Device, format!("{}: {why}", field.name));
    let page = |control| {
        let data =
            unit.read(&Cdb::mode_sense_10(control, field.page, field.subpage, PAGES_BYTES), PAGES_BYTES.into())?;
        let pages = ModeData::decode_10(&data).map_err(wrong)?.pages;
        pages.into_iter().find(|page| is_of(page, field)).ok_or_else(|| refused("the logical unit has no such page"))
    };
    let (mut current, changeable) = (page(CURRENT)?, page(CHANGEABLE)?);
    if field.get(&changeable) == 0 {
        return Err(refused("it cannot be changed"));
    }
    if save && !current.savable {
        return Err(refused("it cannot be saved"));
    }
    if !field.set(&mut current, *value) {
        return Err(refused("the page is too short for it"));
    }
    let list = ModeData::select_list_10(&[current]);
    unit.run(&Cdb::mode_select_10(save, list.len() as u16), list.into())
}

fn is_of(page: &ModePage, field: &ModeField) -> bool {
    (page.code, page.subpage) == (field.page, field.subpage)
}

/// One field, or one page whose fields have no names here.
struct Line {
    page: u8,
    subpage: u8,
    name: Option<&'static str>,
    meaning: &'static str,
    /// The current, changeable, default and saved values, those that the unit tells.
    values: [Option<String>; 4],
}

/// The fields of a page; the bytes of one that has none.
fn lines(page: &ModePage, others: &[Vec<ModePage>; 3]) -> Vec<Line> {
    let same = |pages: &Vec<ModePage>| {
        pages.iter().find(|other| (other.code, other.subpage) == (page.code, page.subpage)).cloned()
    };
    let [changeable, default, saved] = others.each_ref().map(same);
    let columns = [Some(page.clone()), changeable, default, saved];
    let line = |name, meaning, show: &dyn Fn(&ModePage) -> String| Line {
        page: page.code,
        subpage: page.subpage,
        name,
        meaning,
        values: columns.each_ref().map(|column| column.as_ref().map(show)),
    };
    let fields = ModeField::of_page(page.code, page.subpage).filter(|field| field.lies_in(page));
    let named: Vec<Line> =
        fields.map(|field| line(Some(field.name), field.meaning, &|page| field.get(page).to_string())).collect();
    match named.is_empty() {
        true => vec![line(None, "", &|page| page.body.iter().map(|byte| format!("{byte:02x}")).collect())],
        false => named,
    }
}

impl Line {
    fn page_name(&self) -> String {
        match self.subpage {
            0 => format!("{:02x}h", self.page),
            subpage => format!("{:02x}h/{subpage:02x}h", self.page),
        }
    }

    /// A number where it is one that has a name.
    fn to_json(&self) -> Value {
        let value = |value: &Option<String>| match (value, self.name) {
            (Some(text), Some(_)) => text.parse::<u64>().map_or(Value::Null, Value::from),
            (Some(text), None) => text.as_str().into(),
            (None, _) => Value::Null,
        };
        let [current, changeable, default, saved] = self.values.each_ref().map(value);
        json!({
            "page": self.page,
            "subpage": self.subpage,
            "field": self.name,
            "current": current,
            "changeable": changeable,
            "default": default,
            "saved": saved,
        })
    }
}

fn to_text(lines: &[Line]) -> String {
    let mut rows = table(&["page", "field", "current", "changeable", "default", "saved", "meaning"]);
    for index in [1, 6] {
        if let Some(column) = rows.column_mut(index) {
            column.set_cell_alignment(comfy_table::CellAlignment::Left);
        }
    }
    for line in lines {
        let [current, changeable, default, saved] = line.values.each_ref().map(|value| value.as_deref().unwrap_or("-"));
        let name = line.name.unwrap_or("");
        rows.add_row([&line.page_name(), name, current, changeable, default, saved, line.meaning]);
    }
    rows.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_a_line_each_and_unknown_pages_their_bytes() {
        let page = |code, body: &[u8]| ModePage { code, subpage: 0, savable: false, body: body.to_vec() };
        let current = [page(0x08, &[0x04; 18]), page(0x19, &[1, 2])];
        let others = [vec![page(0x08, &[0x04; 18])], Vec::new(), Vec::new()];
        let lines: Vec<Line> = current.iter().flat_map(|page| lines(page, &others)).collect();
        let wce = lines.iter().find(|line| line.name == Some("WCE")).unwrap();
        assert_eq!(wce.values, [Some("1".into()), Some("1".into()), None, None]);
        assert_eq!(wce.to_json()["saved"], Value::Null);
        let text = to_text(&lines);
        for words in ["08h", "WCE", "write cache enable", "19h", "0102"] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        assert_eq!(lines.last().unwrap().to_json()["current"], "0102");
    }

    #[test]
    fn assignments_are_looked_at() {
        let assignment: Assignment = "wce=0x1".parse().unwrap();
        assert_eq!((assignment.field.name, assignment.value), ("WCE", 1));
        assert!("WCE=2".parse::<Assignment>().unwrap_err().contains("0 to 1"));
        assert!("=1".parse::<Assignment>().is_err());
    }
}

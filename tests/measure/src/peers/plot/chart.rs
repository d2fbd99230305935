//! A plot of lines, as SVG: on a white ground, so that it can be read on any page.

use anyhow::{Result, anyhow};
use plotters::{
    coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    prelude::*,
};

use crate::common::figure::grouped;

pub const SIZE: (u32, u32) = (860, 460);

/// They differ in lightness too.
pub const BLUE: RGBColor = RGBColor(0, 90, 181);
pub const ORANGE: RGBColor = RGBColor(220, 110, 0);
pub const GREEN: RGBColor = RGBColor(0, 120, 90);
pub const GREY: RGBColor = RGBColor(110, 110, 110);

pub type Root<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
pub type Points = Vec<(f64, f64)>;

/// A line of a plot.
pub struct Line {
    pub label: String,
    color: RGBColor,
    /// With a mark at each point.
    marked: bool,
    pub points: Points,
}

impl Line {
    pub fn new(label: &str, color: RGBColor, points: Points) -> Self {
        Self { label: label.to_owned(), color, marked: false, points }
    }

    pub fn marked(mut self) -> Self {
        self.marked = true;
        self
    }
}

pub fn thousands(value: &f64) -> String {
    grouped(*value, 0)
}

pub fn plain(value: &f64) -> String {
    if *value < 1.0 { format!("{value:.1}") } else { grouped(*value, 0) }
}

pub type Words<'a> = &'a dyn Fn(&f64) -> String;

/// A plot of these lines.
pub fn chart<X, Y>(
    root: &Root<'_>,
    title: &str,
    names: (&str, &str),
    axes: (X, Y),
    words: (Words<'_>, Words<'_>),
    legend: SeriesLabelPosition,
    lines: &[Line],
) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(76)
        .build_cartesian_2d(axes.0, axes.1)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(names.0)
        .y_desc(names.1)
        .x_label_formatter(&|value| words.0(value))
        .y_label_formatter(&|value| words.1(value))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()
        .map_err(drawing)?;
    for Line { label, color, marked, points } in lines {
        let style = color.stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), style)).map_err(drawing)?;
        if !label.is_empty() {
            drawn.label(label).legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        }
        if *marked {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, color.filled()))).map_err(drawing)?;
        }
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()
        .map_err(drawing)
}

/// Its errors name a lifetime that ends too soon.
pub fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

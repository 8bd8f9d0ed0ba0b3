-- What moves or lies above the picture: ticker, progress strip, fades, dimming. Loaded into libmpv by the screen worker, which says what to draw
-- in finished ASS; here is only time. Positions come from the clock, never from counting steps, and no timer runs while nothing
-- moves.

local utils = require "mp.utils"

local STEP_S = 1 / 60
local LAST_FRAMES_S = 0.07

local function new_overlay(z)
    local overlay = mp.create_osd_overlay("ass-events")
    overlay.z = z
    return overlay
end

local function on_message(name, handler)
    mp.register_script_message(name, function(text)
        handler(utils.parse_json(text))
    end)
end

-- The ticker: {res = {w, h}, bar, head, tail, x, y, dx, dy, length, speed, text, size, scroll} or false.

local ticker = { overlay = new_overlay(20) }

-- Width of a text in pixels. Bounds are cut off at the screen's edge, so the text is pushed out to the left until nothing of it
-- is left.
local function measure(plan)
    local probe = mp.create_osd_overlay("ass-events")
    probe.res_x, probe.res_y = plan.res[1], plan.res[2]
    probe.compute_bounds, probe.hidden = true, true
    local function visible(shift)
        probe.data = string.format("{\\an4\\q2\\bord0\\shad0%s\\pos(%d,%d)}%s", plan.font, -shift, plan.res[2] / 2, plan.text)
        local bounds = probe:update()
        return bounds ~= nil and bounds.x0 ~= nil
    end
    local low, high = 0, 512
    while visible(high) and high < 1048576 do
        low, high = high, high * 2
    end
    while high - low > 1 do
        local middle = math.floor((low + high) / 2)
        if visible(middle) then
            low = middle
        else
            high = middle
        end
    end
    probe:remove()
    return high
end

local function step_ticker()
    local plan = ticker.plan
    local travelled = ((mp.get_time() - ticker.begun) * plan.speed) % (plan.length + ticker.width)
    local at = plan.length - travelled
    ticker.overlay.data = string.format(
        "%s\n%s%.2f,%.2f%s%s", plan.bar, plan.head, plan.x + at * plan.dx, plan.y + at * plan.dy, plan.tail, plan.text)
    ticker.overlay:update()
end

on_message("ticker", function(plan)
    if ticker.timer then
        ticker.timer:kill()
        ticker.timer = nil
    end
    ticker.plan = plan
    if not plan then
        ticker.overlay:remove()
        return
    end
    ticker.overlay.res_x, ticker.overlay.res_y = plan.res[1], plan.res[2]
    if plan.scroll then
        ticker.width = measure(plan)
        ticker.begun = mp.get_time()
        step_ticker()
        ticker.timer = mp.add_periodic_timer(STEP_S, step_ticker)
    else
        ticker.overlay.data = string.format("%s\n%s%.2f,%.2f%s%s", plan.bar, plan.head, plan.x, plan.y, plan.tail, plan.text)
        ticker.overlay:update()
    end
end)

-- The strip: {res, scale, boxes, texts = {{head, font, room, pieces}, ...}} or false. A text that is wider than its room is cut
-- after one of its pieces. How many there is room for is kept as long as the text stays; all digits are equally wide.

local strip = { overlay = new_overlay(15), counts = {} }

local function cut(pieces, count)
    local words = table.concat(pieces, "", 1, count)
    return count < #pieces and words:gsub("%s+$", "") .. "…" or words
end

local function count_fitting(plan, text)
    local probe = mp.create_osd_overlay("ass-events")
    probe.res_x, probe.res_y = plan.res[1] * plan.scale, plan.res[2] * plan.scale
    probe.compute_bounds, probe.hidden = true, true
    local function fits(count)
        probe.data = string.format(
            "{\\an4\\q2\\bord0\\shad0%s\\pos(0,%d)}%s", text.font, probe.res_y / 2, cut(text.pieces, count))
        local bounds = probe:update()
        return bounds == nil or bounds.x1 == nil or bounds.x1 <= text.room
    end
    local low, high = #text.pieces, #text.pieces
    if not fits(high) then
        low = 0
        while high - low > 1 do
            local middle = math.floor((low + high) / 2)
            if fits(middle) then
                low = middle
            else
                high = middle
            end
        end
    end
    probe:remove()
    return low
end

on_message("strip", function(plan)
    if not plan then
        strip.overlay:remove()
        strip.counts = {}
        return
    end
    local known, lines = strip.counts, { plan.boxes }
    strip.counts = {}
    for _, text in ipairs(plan.texts) do
        local key = table.concat({ plan.res[1], text.room, text.font, (table.concat(text.pieces):gsub("%d", "0")) }, " ")
        strip.counts[key] = known[key] or count_fitting(plan, text)
        lines[#lines + 1] = text.head .. cut(text.pieces, strip.counts[key])
    end
    strip.overlay.res_x, strip.overlay.res_y = plan.res[1], plan.res[2]
    strip.overlay.data = table.concat(lines, "\n")
    strip.overlay:update()
end)

-- Sheets over the whole screen: a colour (ASS, BGR) and how much of what is below they hide, 0 to 1.

local function draw_sheet(sheet, cover)
    sheet.cover = cover
    local transparency = math.floor(255 * (1 - math.min(math.max(cover, 0), 1)) + 0.5)
    if transparency == 255 then
        sheet.overlay:remove()
        return
    end
    local w, h = sheet.res[1], sheet.res[2]
    sheet.overlay.res_x, sheet.overlay.res_y = w, h
    sheet.overlay.data = string.format(
        "{\\an7\\pos(0,0)\\bord0\\shad0\\1c&H%s&\\1a&H%02X&\\p1}m 0 0 l %d 0 %d %d 0 %d", sheet.colour, transparency, w, w, h, h)
    sheet.overlay:update()
end

local dim = { overlay = new_overlay(30), colour = "000000" }

on_message("dim", function(order)
    dim.res = order.res
    draw_sheet(dim, order.cover)
end)

-- The mark: {res, text} or false.

local mark = new_overlay(25)

on_message("mark", function(order)
    if not order then
        mark:remove()
        return
    end
    mark.res_x, mark.res_y, mark.data = order.res[1], order.res[2], order.text
    mark:update()
end)

-- Fades: {res, colour, act = shut | open | close | close_at_end | clear | paint, seconds}.

local fade = { overlay = new_overlay(10), colour = "000000", cover = 0, res = { 16, 9 } }

local function stop_fade()
    if fade.timer then
        fade.timer:kill()
        fade.timer = nil
    end
end

local function run_fade(target, seconds)
    stop_fade()
    local begun, from = mp.get_time(), fade.cover
    local function step()
        local part = seconds > 0 and (mp.get_time() - begun) / seconds or 1
        draw_sheet(fade, from + (target - from) * math.min(part, 1))
        if part >= 1 then
            stop_fade()
        end
    end
    fade.timer = mp.add_periodic_timer(STEP_S, step)
    step()
end

local function follow_end()
    stop_fade()
    if not fade.tail or mp.get_property_bool("pause") then
        return
    end
    local left = mp.get_property_number("time-remaining")
    if not left then
        return
    end
    if left > fade.tail then
        if fade.cover > 0 then
            return -- still opening; looked at again when that is done
        end
        fade.timer = mp.add_timeout(left - fade.tail, follow_end)
        return
    end
    fade.timer = mp.add_periodic_timer(STEP_S, function()
        local now_left = mp.get_property_number("time-remaining") or 0
        if now_left <= LAST_FRAMES_S then
            now_left = 0
            stop_fade()
        end
        draw_sheet(fade, 1 - now_left / fade.tail)
    end)
end

mp.observe_property("pause", "bool", function()
    if fade.tail then
        follow_end()
    end
end)

on_message("fade", function(order)
    fade.res, fade.colour = order.res, order.colour
    if order.act == "paint" then
        draw_sheet(fade, fade.cover)
        return
    end
    fade.tail = nil
    if order.act == "shut" then
        stop_fade()
        draw_sheet(fade, 1)
    elseif order.act == "clear" then
        stop_fade()
        draw_sheet(fade, 0)
    elseif order.act == "open" then
        run_fade(0, order.seconds)
    elseif order.act == "close" then
        run_fade(1, order.seconds)
    end
    if order.tail then
        fade.tail = order.tail
        local wait = order.act == "open" and order.seconds + STEP_S or 0
        if wait > 0 then
            mp.add_timeout(wait, function()
                if fade.tail == order.tail then
                    follow_end()
                end
            end)
        else
            follow_end()
        end
    end
end)

local function announce()
    mp.commandv("script-message", "screen-overlay-ready")
end

mp.register_script_message("announce", announce)
announce()
